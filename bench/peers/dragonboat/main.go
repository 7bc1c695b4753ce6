// A member of a cluster of dragonboat 3, with its own log: every entry is synced.
// dragonboat -id N -dir D -ports P1,P2,P3
package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/logger"
	"github.com/lni/dragonboat/v3/statemachine"

	"raftx/bench/peers/loop"
)

const group = 1

// counter is the cheapest state machine there is.
type counter struct{ count uint64 }

func (c *counter) Update([]byte) (statemachine.Result, error) {
	c.count++
	return statemachine.Result{Value: c.count}, nil
}
func (c *counter) Lookup(any) (any, error) { return c.count, nil }
func (c *counter) SaveSnapshot(io.Writer, statemachine.ISnapshotFileCollection, <-chan struct{}) error {
	return nil
}
func (c *counter) RecoverFromSnapshot(io.Reader, []statemachine.SnapshotFile, <-chan struct{}) error {
	return nil
}
func (c *counter) Close() error { return nil }

type member struct {
	id   uint64
	host *dragonboat.NodeHost
}

func (m member) Leads() bool {
	leader, known, err := m.host.GetLeaderID(group)
	return err == nil && known && leader == m.id
}

func (m member) Propose(_ int, data []byte) error {
	state, err := m.host.Propose(m.host.GetNoOPSession(group), data, 10*time.Second)
	if err != nil {
		return err
	}
	defer state.Release()
	if result := <-state.AppliedC(); !result.Completed() {
		return errors.New("not completed")
	}
	return nil
}

func main() {
	id := flag.Uint64("id", 1, "number of this member, from 1")
	dir := flag.String("dir", "", "directory of this member")
	ports := flag.String("ports", "", "a port for each member")
	flag.Parse()
	for _, name := range []string{"raft", "rsm", "transport", "grpc", "dragonboat", "logdb", "config"} {
		logger.GetLogger(name).SetLevel(logger.CRITICAL)
	}
	targets := map[uint64]dragonboat.Target{}
	for i, port := range strings.Split(*ports, ",") {
		targets[uint64(i+1)] = "127.0.0.1:" + port
	}
	host, err := dragonboat.NewNodeHost(config.NodeHostConfig{
		WALDir: *dir, NodeHostDir: *dir, RTTMillisecond: 50, RaftAddress: targets[*id],
	})
	if err != nil {
		panic(err)
	}
	make := func(uint64, uint64) statemachine.IStateMachine { return &counter{} }
	err = host.StartCluster(targets, false, make, config.Config{
		NodeID: *id, ClusterID: group, ElectionRTT: 10, HeartbeatRTT: 1, CheckQuorum: true,
	})
	if err != nil {
		panic(err)
	}
	loop.Serve(member{*id, host})
}
