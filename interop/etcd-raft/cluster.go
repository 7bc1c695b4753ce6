// The members of a scenario, the network between them, and what each step
// does. Every call of the library goes through member.library: the election
// timeout is set after it, and only a panic inside of it is an answer; any
// other one is a mistake of this program and ends it.

package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"raftx/interop/etcd-raft/silent"
)

// cluster runs one scenario.
type cluster struct {
	seed    uint64
	members map[uint64]*member
	network []packet // the oldest first
	inside  bool     // a call of the library is under way
	hosted  []uint64 // the members that live here, nil for all

	// Of the step that is running.
	ready, sent []byte            // the second and the third part of the answer
	left        []*outsideMessage // for members that live elsewhere
	reason      string            // why the library gave up
}

// packet is a message in the network, encoded.
type packet struct {
	to   uint64
	data []byte
}

// member is one member. Its storage and its state machine outlive a crash.
type member struct {
	cluster *cluster
	setup   nodeSetup
	storage *storage
	machine machine

	node  *raft.RawNode // nil when it is down
	inner inner

	// Without asynchronous storage writes: the Ready that is worked on.
	ready     *raft.Ready
	persisted bool
	// With them: the writes and the applications to do.
	appends []appendWork
	applies []*pb.Message
}

// appendWork is a MsgStorageAppend and the requests for votes that wait for it.
type appendWork struct {
	message *pb.Message
	votes   []*pb.Message
}

// newCluster makes the members that the head describes.
func newCluster(h *head) (*cluster, error) {
	c := &cluster{seed: h.seed, members: make(map[uint64]*member, len(h.nodes)), hosted: h.hosted}
	for _, setup := range h.nodes {
		if c.leaves(setup.ID) {
			continue
		}
		if c.members[setup.ID] != nil {
			return nil, fmt.Errorf("member %d is there twice", setup.ID)
		}
		m := &member{cluster: c, setup: setup}
		m.storage = newStorage(setup.Start, &pb.ConfState{
			Voters: setup.Voters, VotersOutgoing: setup.Outgoing, Learners: setup.Learners,
			LearnersNext: setup.LearnersNext, AutoLeave: new(setup.AutoLeave),
		})
		if err := m.construct(setup.Start); err != nil {
			return nil, fmt.Errorf("member %d: the library refuses its configuration: %w", setup.ID, err)
		}
		c.members[setup.ID] = m
	}
	return c, nil
}

// construct starts the member and returns a panic of the library as an error.
func (m *member) construct(applied uint64) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			if !m.cluster.inside {
				panic(reason)
			}
			err = fmt.Errorf("%v", reason)
		}
	}()
	m.start(applied)
	return nil
}

// start constructs the library's node from the storage, with everything up to
// applied in the state machine.
func (m *member) start(applied uint64) {
	conf := m.machine.conf(applied, m.storage)
	m.storage.initial = conf
	m.machine.applied = applied
	m.machine.set(applied, conf)

	s := &m.setup
	config := raft.Config{
		ID:                          s.ID,
		ElectionTick:                s.Election,
		HeartbeatTick:               s.Heartbeat,
		Storage:                     m.storage,
		Applied:                     applied,
		AsyncStorageWrites:          s.Async,
		MaxSizePerMsg:               math.MaxUint64,
		MaxCommittedSizePerReady:    math.MaxUint64,
		MaxUncommittedEntriesSize:   s.MaxUncommitted,
		MaxInflightMsgs:             s.MaxInflight,
		MaxInflightBytes:            s.MaxInflightBytes,
		CheckQuorum:                 s.CheckQuorum,
		PreVote:                     s.PreVote,
		Logger:                      silent.Logger{},
		DisableProposalForwarding:   !s.Forwarding,
		DisableConfChangeValidation: !s.Validate,
		StepDownOnRemoval:           s.StepDown,
	}
	if s.OneEntryMessages {
		config.MaxSizePerMsg = 0
	}
	if s.OneEntryApplies {
		// Zero would mean: as MaxSizePerMsg. Every entry is larger than this.
		config.MaxCommittedSizePerReady = 1
	}
	if s.LeaseReads {
		config.ReadOnlyOption = raft.ReadOnlyLeaseBased
	}
	m.library(func() {
		node, err := raft.NewRawNode(&config)
		if err != nil {
			panic(err)
		}
		m.node, m.inner = node, look(node)
	})
}

// library makes a call of the library.
func (m *member) library(call func()) {
	m.cluster.inside = true
	call()
	m.cluster.inside = false
	m.setTimeout()
}

// setTimeout replaces the election timeout that the library drew.
func (m *member) setTimeout() {
	x := m.cluster.seed*0x9E3779B97F4A7C15 + m.setup.ID*0xBF58476D1CE4E5B9 + m.inner.term()*0x94D049BB133111EB
	x ^= x >> 31
	x *= 0x9E3779B97F4A7C15
	x ^= x >> 29
	election := uint64(m.setup.Election)
	m.inner.setTimeout(election + (x>>11)%election)
}

// What a step came to.
const (
	ok      = "ok"
	down    = "down"
	nothing = "nothing"
	lost    = "lost"
	dropped = "dropped"
	unknown = "unknown"
	local   = "local"
)

// resultOf is the result of a call that returned err.
func resultOf(err error) string {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, raft.ErrProposalDropped):
		return dropped
	case errors.Is(err, raft.ErrStepPeerNotFound):
		return unknown
	case errors.Is(err, raft.ErrStepLocalMsg):
		return local
	}
	panic(err)
}

// run runs a step and appends its answer to b. It returns whether the library
// gave up, and an error for a step that the protocol does not allow.
func (c *cluster) run(s *step, b []byte) (answer []byte, over bool, err error) {
	begin := len(b)
	defer func() {
		if reason := recover(); reason != nil {
			if !c.inside {
				panic(reason)
			}
			c.reason = fmt.Sprint(reason)
			answer, over, err = append(b[:begin], "panic|||"...), true, nil
		}
	}()
	c.ready, c.sent, c.left = c.ready[:0], c.sent[:0], nil
	result, m, err := c.dispatch(s)
	if err != nil {
		return b, false, err
	}
	b = append(append(b, result...), '|')
	b = append(append(b, c.ready...), '|')
	b = append(append(b, c.sent...), '|')
	if m != nil {
		b = addState(b, m)
	}
	return b, false, nil
}

// dispatch runs a step. It returns the result and the member whose state the
// answer shows, nil for none.
func (c *cluster) dispatch(s *step) (result string, shown *member, err error) {
	switch s.verb {
	case verbDeliver, verbDrop, verbDuplicate, verbMove:
		result, shown = c.transport(s)
		return result, shown, nil
	case verbGive:
		return c.give(s)
	}
	m := c.members[s.number(0)]
	switch {
	case s.verb == verbRestart:
		if result = nothing; m != nil {
			result, err = m.restart(s.number(1))
		}
	case m == nil || m.node == nil:
		result = down
	case s.verb == verbCrash:
		m.node, m.inner = nil, inner{}
		m.ready, m.persisted, m.appends, m.applies = nil, false, nil, nil
		return ok, nil, nil
	default:
		result, err = m.do(s)
	}
	if err != nil || result == down || result == nothing {
		m = nil
	}
	return result, m, err
}

// transport runs a step of the network.
func (c *cluster) transport(s *step) (result string, shown *member) {
	if s.number(0) >= uint64(len(c.network)) {
		return nothing, nil
	}
	k := int(s.number(0))
	p := c.network[k]
	if s.verb == verbDuplicate {
		c.network = append(c.network, p) // every delivery decodes a copy of its own
		return ok, nil
	}
	if s.verb == verbMove && s.number(1) >= uint64(len(c.network)) {
		return nothing, nil
	}
	c.network = slices.Delete(c.network, k, k+1)
	switch s.verb {
	case verbMove:
		c.network = slices.Insert(c.network, int(s.number(1)), p)
	case verbDeliver:
		m := c.members[p.to]
		if m == nil || m.node == nil {
			return lost, nil
		}
		message := &pb.Message{}
		must(proto.Unmarshal(p.data, message))
		return resultOf(m.step(message)), m
	}
	return ok, nil
}

// send puts a message into the network and into the answer.
func (c *cluster) send(message *pb.Message) {
	c.sent = addMessage(c.sent, message)
	c.post(message)
}

// post puts a message into the network, or lets it leave.
func (c *cluster) post(message *pb.Message) {
	if c.leaves(message.GetTo()) {
		c.left = append(c.left, neutral(message))
		return
	}
	data, err := proto.Marshal(message)
	must(err)
	c.network = append(c.network, packet{message.GetTo(), data})
}

// step steps a message into the member.
func (m *member) step(message *pb.Message) (err error) {
	m.library(func() { err = m.node.Step(message) })
	return err
}

// do runs a step of a member that is up.
func (m *member) do(s *step) (result string, err error) {
	switch s.verb {
	case verbTick:
		m.library(m.node.Tick)
	case verbCampaign:
		m.library(func() { err = m.node.Campaign() })
		return resultOf(err), nil
	case verbPropose:
		return resultOf(m.propose(s.args[1:])), nil
	case verbChange:
		change, err := parseChange(s.text(1), s.number(2), s.truth(3))
		if err != nil {
			return "", err
		}
		m.library(func() { err = m.node.ProposeConfChange(change) })
		return resultOf(err), nil
	case verbReady:
		return m.takeReady(), nil
	case verbPersist:
		return m.persist(), nil
	case verbApply:
		return m.apply(), nil
	case verbSnapshot:
		return m.snapshot(), nil
	case verbCompact:
		return m.compact(s.number(1)), nil
	case verbRead:
		m.library(func() { m.node.ReadIndex([]byte(s.text(1))) })
	case verbTransfer:
		m.library(func() { m.node.TransferLeader(s.number(1)) })
	case verbForget:
		m.library(func() { err = m.node.ForgetLeader() })
		return resultOf(err), nil
	case verbUnreachable:
		m.library(func() { m.node.ReportUnreachable(s.number(1)) })
	case verbReport:
		status := raft.SnapshotFailure
		if s.truth(2) {
			status = raft.SnapshotFinish
		}
		m.library(func() { m.node.ReportSnapshot(s.number(1), status) })
	}
	return ok, nil
}

// propose proposes one entry for each data, all in one message.
func (m *member) propose(data []argument) error {
	message := &pb.Message{Type: pb.MsgProp.Enum(), From: new(m.setup.ID)}
	for _, d := range data {
		message.Entries = append(message.Entries, &pb.Entry{Data: []byte(d.s)})
	}
	return m.step(message)
}

// parseChange makes a membership change of the step's arguments.
func parseChange(text string, transition uint64, old bool) (pb.ConfChangeI, error) {
	change := &pb.ConfChangeV2{}
	for word := range strings.FieldsSeq(text) {
		kind := strings.IndexByte(letters, word[0])
		id, err := strconv.ParseUint(word[1:], 10, 64)
		if kind < 0 || err != nil {
			return nil, fmt.Errorf("change %q is unknown", word)
		}
		change.Changes = append(change.Changes, &pb.ConfChangeSingle{
			Type: pb.ConfChangeType(kind).Enum(), NodeId: new(id),
		})
	}
	if old {
		if len(change.Changes) != 1 {
			return nil, fmt.Errorf("a change of the old kind has exactly one part, not %d", len(change.Changes))
		}
		return &pb.ConfChange{Type: change.Changes[0].Type, NodeId: change.Changes[0].NodeId}, nil
	}
	switch {
	case transition > 2:
		return nil, fmt.Errorf("transition %d is unknown", transition)
	case transition > 0: // otherwise absent: an empty change has no data
		change.Transition = pb.ConfChangeTransition(transition).Enum()
	}
	return change, nil
}

// takeReady takes a Ready; with asynchronous storage writes it shares out the
// messages.
func (m *member) takeReady() string {
	if m.ready != nil || !m.node.HasReady() {
		return nothing
	}
	var rd raft.Ready
	m.library(func() { rd = m.node.Ready() })
	c := m.cluster
	c.ready = addReady(c.ready, &rd)
	if !m.setup.Async {
		m.ready = &rd
		return ok
	}
	for _, message := range rd.Messages {
		c.sent = addMessage(c.sent, message)
		switch message.GetType() {
		case pb.MsgStorageAppend:
			m.appends = append(m.appends, appendWork{message: message})
		case pb.MsgStorageApply:
			m.applies = append(m.applies, message)
		}
	}
	for _, message := range rd.Messages {
		switch newest := len(m.appends) - 1; message.GetType() {
		case pb.MsgStorageAppend, pb.MsgStorageApply:
		case pb.MsgVote:
			if newest >= 0 {
				m.appends[newest].votes = append(m.appends[newest].votes, message)
				continue
			}
			fallthrough
		default:
			c.post(message)
		}
	}
	return ok
}

// persist does the next write.
func (m *member) persist() string {
	if !m.setup.Async {
		if m.ready == nil || m.persisted {
			return nothing
		}
		m.store(m.ready.Snapshot, m.ready.Entries, m.ready.HardState)
		for _, message := range m.ready.Messages {
			m.cluster.send(message)
		}
		m.persisted = true
		return ok
	}
	if len(m.appends) == 0 {
		return nothing
	}
	work := m.appends[0]
	m.appends = m.appends[1:]
	message := work.message
	hard := &pb.HardState{Term: message.Term, Vote: message.Vote, Commit: message.Commit}
	m.store(message.GetSnapshot(), message.GetEntries(), hard)
	if !raft.IsEmptySnap(message.GetSnapshot()) {
		m.machine.restore(message.GetSnapshot())
	}
	m.respond(message.GetResponses())
	for _, vote := range work.votes {
		m.cluster.send(vote)
	}
	return ok
}

// store writes what is not empty.
func (m *member) store(snapshot *pb.Snapshot, entries []*pb.Entry, hard *pb.HardState) {
	if !raft.IsEmptySnap(snapshot) {
		m.storage.saveSnapshot(snapshot)
	}
	m.storage.saveEntries(entries)
	if !raft.IsEmptyHardState(hard) {
		m.storage.saveHardState(hard.GetTerm(), hard.GetVote(), hard.GetCommit())
	}
}

// respond handles the responses to a message for the storage.
func (m *member) respond(responses []*pb.Message) {
	for _, response := range responses {
		if response.GetTo() == m.setup.ID {
			_ = m.step(response) // refused when the member is no longer one
		} else {
			m.cluster.send(response)
		}
	}
}

// apply lets the state machine take the next part.
func (m *member) apply() string {
	if m.setup.Async {
		if len(m.applies) == 0 {
			return nothing
		}
		message := m.applies[0]
		m.applies = m.applies[1:]
		m.applyEntries(message.GetEntries())
		m.respond(message.GetResponses())
		return ok
	}
	if !m.persisted {
		return nothing
	}
	rd := *m.ready
	m.ready, m.persisted = nil, false
	if !raft.IsEmptySnap(rd.Snapshot) {
		m.machine.restore(rd.Snapshot)
	}
	m.applyEntries(rd.CommittedEntries)
	m.library(func() { m.node.Advance(rd) })
	return ok
}

// applyEntries applies entries, but those that a snapshot brought already.
func (m *member) applyEntries(entries []*pb.Entry) {
	for _, e := range entries {
		if e.GetIndex() <= m.machine.applied {
			continue
		}
		m.machine.applied = e.GetIndex()
		if e.GetType() != pb.EntryNormal {
			change := changeOf(e)
			m.library(func() { m.machine.set(e.GetIndex(), m.node.ApplyConfChange(change)) })
		}
	}
}

// restart starts a member that is down.
func (m *member) restart(mode uint64) (result string, err error) {
	switch {
	case mode > 1:
		return "", fmt.Errorf("restart has no mode %d", mode)
	case m.node != nil:
		return nothing, nil
	}
	applied := m.storage.snapIndex
	if mode == 1 {
		applied = max(applied, min(m.machine.applied, m.storage.hard.commit))
	}
	m.start(applied)
	return ok, nil
}

// snapshot makes a snapshot as late in the log as it can be.
func (m *member) snapshot() string {
	index := min(m.inner.applied(), m.machine.applied, m.storage.hard.commit, m.inner.stable())
	if index <= m.storage.snapIndex {
		return nothing
	}
	m.storage.makeSnapshot(index, m.machine.conf(index, m.storage), strconv.AppendUint(nil, index, 10))
	return ok
}

// compact drops the entries up to and including index.
func (m *member) compact(index uint64) string {
	if index < m.storage.first() || index > min(m.storage.snapIndex, m.inner.stable(), m.inner.applied()) {
		return nothing
	}
	must(m.storage.Compact(index))
	return ok
}
