// A member of a cluster of hashicorp/raft with its own write-ahead log, raft-wal: every entry is synced.
// hashicorp -id N -dir D -ports P1,P2,P3
package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"raftx/bench/peers/loop"
)

// counter is the cheapest state machine there is.
type counter struct{ count uint64 }

func (c *counter) Apply(*raft.Log) any { c.count++; return c.count }

func (c *counter) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	for i := range logs {
		out[i] = c.Apply(logs[i])
	}
	return out
}

func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (c *counter) Restore(from io.ReadCloser) error    { return from.Close() }

type nothing struct{}

func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}

type member struct{ raft *raft.Raft }

func (m member) Leads() bool { return m.raft.State() == raft.Leader }

func (m member) Propose(_ int, data []byte) error { return m.raft.Apply(data, 10*time.Second).Error() }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	id := flag.Int("id", 1, "number of this member, from 1")
	dir := flag.String("dir", "", "directory of this member")
	ports := flag.String("ports", "", "a port for each member")
	flag.Parse()
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		panic(err)
	}
	log := must(wal.Open(filepath.Clean(*dir)))
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(strconv.Itoa(*id))
	config.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	// What its users set for throughput; no snapshots while it is measured.
	config.MaxAppendEntries = 1024
	config.BatchApplyCh = true
	config.SnapshotThreshold = 1 << 40
	config.TrailingLogs = 1 << 40
	config.SnapshotInterval = 24 * time.Hour
	var servers raft.Configuration
	for i, port := range strings.Split(*ports, ",") {
		servers.Servers = append(servers.Servers, raft.Server{
			ID: raft.ServerID(strconv.Itoa(i + 1)), Address: raft.ServerAddress("127.0.0.1:" + port),
		})
	}
	address := string(servers.Servers[*id-1].Address)
	transport := must(raft.NewTCPTransport(address, nil, 3, 10*time.Second, io.Discard))
	node := must(raft.NewRaft(config, &counter{}, log, log, raft.NewDiscardSnapshotStore(), transport))
	if *id == 1 {
		if err := node.BootstrapCluster(servers).Error(); err != nil {
			panic(err)
		}
	}
	loop.Serve(member{node})
}
