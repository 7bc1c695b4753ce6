// What etcd/raft costs, one case at a time, for bench/core_compare.py.
//
// A line of JSON on stdin is a case, a line of JSON on stdout what it took. What
// the cases are, and what counts as one operation, is written in
// docs/benchmarks.md; the three programs (this one, interop/raft-rs/src/bin/bench.rs
// and bench/core_sides.py) do the same and differ only in the library they drive.
// Nothing is printed but answers, and a result that is not what it must be ends
// the program.

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/quorum"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"raftx/interop/etcd-raft/silent"
)

const (
	window       = 1024
	messageBytes = 1 << 20
	// Messages that are stepped, or campaigns that are held, between two readings of the clock.
	group = uint64(256)
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(what string, got, want uint64) {
	if got != want {
		panic(fmt.Sprintf("%s is %d, not %d", what, got, want))
	}
}

// settled is the library's storage with a membership to begin with.
type settled struct {
	*raft.MemoryStorage
	conf *pb.ConfState
}

func (s settled) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hard, _, err := s.MemoryStorage.InitialState()
	return hard, s.conf, err
}

// member is one member with its storage and a state machine that counts.
type member struct {
	id      uint64
	node    *raft.RawNode
	storage *raft.MemoryStorage
	keep    uint64
	first   uint64
	applied uint64
	bytes   uint64
}

func newMember(id, voters, keep uint64) *member {
	conf := &pb.ConfState{}
	for each := uint64(1); each <= voters; each++ {
		conf.Voters = append(conf.Voters, each)
	}
	storage := raft.NewMemoryStorage()
	node, err := raft.NewRawNode(&raft.Config{
		ID:                        id,
		ElectionTick:              10,
		HeartbeatTick:             1,
		Storage:                   settled{storage, conf},
		MaxSizePerMsg:             messageBytes,
		MaxCommittedSizePerReady:  math.MaxUint64,
		MaxUncommittedEntriesSize: math.MaxUint64,
		MaxInflightMsgs:           window,
		Logger:                    silent.Logger{},
	})
	check(err)
	return &member{id: id, node: node, storage: storage, keep: keep, first: 1}
}

// work takes one Ready: persist, apply, advance. What is to be sent is returned.
func (m *member) work() []*pb.Message {
	rd := m.node.Ready()
	if !raft.IsEmptyHardState(rd.HardState) {
		check(m.storage.SetHardState(rd.HardState))
	}
	if len(rd.Entries) > 0 {
		check(m.storage.Append(rd.Entries))
	}
	for _, e := range rd.CommittedEntries {
		if e.GetIndex() != m.applied+1 {
			panic("an entry is missing")
		}
		m.applied = e.GetIndex()
		m.bytes += uint64(len(e.GetData()))
	}
	m.node.Advance(rd)
	if m.first+2*m.keep < m.applied {
		m.first = m.applied - m.keep + 1
		check(m.storage.Compact(m.first - 1))
	}
	return rd.Messages
}

// drain works until nothing is left; what was to be sent is dropped. It returns
// how many messages that were.
func (m *member) drain() (sent uint64) {
	for m.node.HasReady() {
		sent += uint64(len(m.work()))
	}
	return sent
}

func (m *member) commit() uint64 { return m.node.BasicStatus().HardState.GetCommit() }
func (m *member) term() uint64   { return m.node.BasicStatus().HardState.GetTerm() }

func (m *member) last() uint64 {
	last, err := m.storage.LastIndex()
	check(err)
	return last
}

func (m *member) step(message *pb.Message) { check(m.node.Step(message)) }

// propose gives a copy of the payload to the library: the caller keeps its own.
func (m *member) propose(payload []byte, batch uint64) {
	if batch == 1 {
		check(m.node.Propose(append([]byte(nil), payload...)))
		return
	}
	m.step(&pb.Message{Type: pb.MsgProp.Enum(), From: new(m.id), Entries: proposals(payload, batch)})
}

func proposals(payload []byte, batch uint64) []*pb.Entry {
	entries := make([]*pb.Entry, batch)
	for at := range entries {
		entries[at] = &pb.Entry{Data: append([]byte(nil), payload...)}
	}
	return entries
}

func message(kind pb.MessageType, from, to, term uint64) *pb.Message {
	return &pb.Message{Type: kind.Enum(), From: new(from), To: new(to), Term: new(term)}
}

// leader is one of several voters that the others have elected and acknowledged.
func leader(voters, keep uint64) *member {
	m := newMember(1, voters, keep)
	check(m.node.Campaign())
	m.drain()
	for id := uint64(2); id <= voters; id++ {
		m.step(message(pb.MsgVoteResp, id, 1, m.term()))
		m.drain()
	}
	if m.node.BasicStatus().RaftState != raft.StateLeader {
		panic("not the leader")
	}
	for id := uint64(2); id <= voters; id++ {
		m.acknowledge(id)
		m.drain()
	}
	equal("commit", m.commit(), 1)
	return m
}

func (m *member) acknowledge(id uint64) {
	answer := message(pb.MsgAppResp, id, 1, m.term())
	answer.Index = new(m.last())
	m.step(answer)
}

// follower follows member 1, in term 1.
func follower(keep uint64) *member {
	m := newMember(2, 3, keep)
	m.step(message(pb.MsgHeartbeat, 1, 2, 1))
	m.drain()
	return m
}

// asked is what a case is asked for.
type asked struct {
	Case    string  `json:"case"`
	Size    uint64  `json:"size"`
	Batch   uint64  `json:"batch"`
	Voters  uint64  `json:"voters"`
	Keep    uint64  `json:"keep"`
	Warm    uint64  `json:"warm"`
	Seconds float64 `json:"seconds"`
}

type work map[string]any

type answer struct {
	NS      float64 `json:"ns"`
	Count   uint64  `json:"count"`
	Seconds float64 `json:"seconds"`
	Work    work    `json:"work"`
}

// measure runs chunk, which does some operations and says how many and how long
// they took, for a while. Before that for a quarter of the time, and for at least
// Warm operations, so that logs are as long as they become.
func measure(c asked, chunk func() (uint64, time.Duration)) answer {
	for count, spent := uint64(0), 0.0; spent < c.Seconds/4 || count < c.Warm; {
		done, took := chunk()
		count += done
		spent += took.Seconds()
	}
	var a answer
	for a.Seconds < c.Seconds {
		done, took := chunk()
		a.Count += done
		a.Seconds += took.Seconds()
	}
	a.NS = a.Seconds * 1e9 / float64(a.Count)
	a.Work = work{}
	return a
}

func payloadOf(c asked) []byte {
	payload := make([]byte, c.Size)
	for at := range payload {
		payload[at] = 0x5a
	}
	return payload
}

func one(c asked) answer {
	m := leader(1, c.Keep)
	payload, rounds, before := payloadOf(c), max(group/c.Batch, 1), m.commit()
	proposed := uint64(0)
	m.bytes = 0
	a := measure(c, func() (uint64, time.Duration) {
		started := time.Now()
		for range rounds {
			m.propose(payload, c.Batch)
			m.drain()
		}
		proposed += rounds * c.Batch
		return rounds * c.Batch, time.Since(started)
	})
	equal("commit", m.commit(), before+proposed)
	equal("applied", m.applied, before+proposed)
	equal("bytes", m.bytes, proposed*c.Size)
	return a
}

// settle lets all members work and steps what each has sent until nothing is
// left. It returns how many messages that were.
func settle(members []*member) (sent uint64) {
	for {
		idle := true
		for _, m := range members {
			if !m.node.HasReady() {
				continue
			}
			idle = false
			out := m.work()
			sent += uint64(len(out))
			for _, each := range out {
				check(members[each.GetTo()-1].node.Step(each))
			}
		}
		if idle {
			return sent
		}
	}
}

func three(c asked) answer {
	members := []*member{newMember(1, 3, c.Keep), newMember(2, 3, c.Keep), newMember(3, 3, c.Keep)}
	check(members[0].node.Campaign())
	settle(members)
	if members[0].node.BasicStatus().RaftState != raft.StateLeader {
		panic("not the leader")
	}
	payload, rounds, before := payloadOf(c), max(group/c.Batch, 1), members[0].commit()
	proposed, sent := uint64(0), uint64(0)
	for _, m := range members {
		m.bytes = 0
	}
	a := measure(c, func() (uint64, time.Duration) {
		started := time.Now()
		for range rounds {
			members[0].propose(payload, c.Batch)
			sent += settle(members)
		}
		proposed += rounds * c.Batch
		return rounds * c.Batch, time.Since(started)
	})
	for _, m := range members {
		equal("commit", m.commit(), before+proposed)
		equal("applied", m.applied, before+proposed)
		equal("bytes", m.bytes, proposed*c.Size)
	}
	a.Work["messages"] = float64(sent*c.Batch) / float64(proposed)
	return a
}

func appended(c asked) answer {
	m := follower(c.Keep)
	payload, count := payloadOf(c), max(group/c.Batch, 16)
	last, answers := uint64(0), uint64(0)
	a := measure(c, func() (uint64, time.Duration) {
		begin := last
		messages := make([]*pb.Message, 0, count)
		for range count {
			each := message(pb.MsgApp, 1, 2, 1)
			each.Index = new(last)
			each.LogTerm = new(min(last, 1))
			each.Commit = new(last)
			each.Entries = proposals(payload, c.Batch)
			for _, e := range each.Entries {
				last++
				e.Index, e.Term = new(last), new(uint64(1))
			}
			messages = append(messages, each)
		}
		started := time.Now()
		for _, each := range messages {
			m.step(each)
		}
		took := time.Since(started)
		equal("commit", m.commit(), last-c.Batch)
		equal("appended", last-begin, count*c.Batch)
		answers += m.drain()
		equal("last", m.last(), last)
		return count, took
	})
	equal("answers", answers, last/c.Batch)
	a.Work["messages"] = 1
	return a
}

func ack(c asked) answer {
	m := leader(c.Voters, c.Keep)
	payload := payloadOf(c)
	sent, total := uint64(0), uint64(0)
	a := measure(c, func() (uint64, time.Duration) {
		begin := m.commit()
		for range group {
			m.propose(payload, 1)
		}
		m.drain()
		equal("commit", m.commit(), begin)
		messages := make([]*pb.Message, 0, group)
		for at := range group {
			each := message(pb.MsgAppResp, 2, 1, m.term())
			each.Index = new(begin + at + 1)
			messages = append(messages, each)
		}
		started := time.Now()
		for _, each := range messages {
			m.step(each)
		}
		took := time.Since(started)
		equal("commit", m.commit(), begin+group)
		sent += m.drain()
		total += group
		m.acknowledge(3)
		m.drain()
		return group, took
	})
	a.Work["messages"] = float64(sent) / float64(total)
	return a
}

func heartbeats() []*pb.Message {
	messages := make([]*pb.Message, group)
	for at := range messages {
		messages[at] = message(pb.MsgHeartbeat, 1, 2, 1)
	}
	return messages
}

func heartbeat(c asked) answer {
	m := follower(c.Keep)
	a := measure(c, func() (uint64, time.Duration) {
		messages := heartbeats()
		started := time.Now()
		for _, each := range messages {
			m.step(each)
		}
		took := time.Since(started)
		equal("answers", m.drain(), group)
		return group, took
	})
	a.Work["messages"] = 1
	return a
}

func ready(c asked) answer {
	m := follower(c.Keep)
	a := measure(c, func() (uint64, time.Duration) {
		messages, answers := heartbeats(), uint64(0)
		started := time.Now()
		for _, each := range messages {
			m.step(each)
			answers += m.drain()
		}
		took := time.Since(started)
		equal("answers", answers, group)
		return group, took
	})
	a.Work["messages"] = 1
	return a
}

func campaign(c asked) answer {
	m := newMember(1, c.Voters, c.Keep)
	a := measure(c, func() (uint64, time.Duration) {
		term := m.term()
		started := time.Now()
		for range group {
			check(m.node.Campaign())
		}
		took := time.Since(started)
		equal("term", m.term(), term+group)
		equal("requests", m.drain(), group*(c.Voters-1))
		return group, took
	})
	a.Work["messages"] = c.Voters - 1
	return a
}

func progress(c asked) tracker.ProgressTracker {
	p := tracker.MakeProgressTracker(window, 0)
	p.Voters[0] = quorum.MajorityConfig{}
	for slot := range c.Voters {
		p.Voters[0][slot+1] = struct{}{}
		p.Progress[slot+1] = &tracker.Progress{Match: 1000 + 7*(slot*2%c.Voters)}
	}
	return p
}

func commit(c asked) answer {
	p := progress(c)
	index := p.Committed()
	sum, total := uint64(0), uint64(0)
	a := measure(c, func() (uint64, time.Duration) {
		started := time.Now()
		for range 4 * group {
			sum += p.Committed()
		}
		total += 4 * group
		return 4 * group, time.Since(started)
	})
	equal("sum", sum, total*index)
	a.Work["index"] = index
	return a
}

func vote(c asked) answer {
	p := progress(c)
	won, total := uint64(0), uint64(0)
	a := measure(c, func() (uint64, time.Duration) {
		started := time.Now()
		for range group {
			p.ResetVotes()
			for id := uint64(1); id <= c.Voters/2+1; id++ {
				p.RecordVote(id, true)
			}
			if _, _, result := p.TallyVotes(); result == quorum.VoteWon {
				won++
			}
		}
		total += group
		return group, time.Since(started)
	})
	equal("won", won, total)
	return a
}

func main() {
	cases := map[string]func(asked) answer{
		"one": one, "three": three, "append": appended, "ack": ack, "heartbeat": heartbeat,
		"ready": ready, "campaign": campaign, "commit": commit, "vote": vote,
	}
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var c asked
		check(json.Unmarshal(in.Bytes(), &c))
		c.Batch, c.Voters = max(c.Batch, 1), max(c.Voters, 1)
		check(out.Encode(cases[c.Case](c)))
	}
}
