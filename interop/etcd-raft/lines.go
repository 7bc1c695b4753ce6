// The canonical text of what the library shows: every function appends to a
// buffer, so that an answer is built without garbage. The formats are those of
// interop/protocol.md, chapter Answers.

package main

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

func addNumber(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

func addTruth(b []byte, t bool) []byte {
	if t {
		return append(b, '1')
	}
	return append(b, '0')
}

// addNumbers appends numbers with a separator between them.
func addNumbers(b []byte, separator byte, numbers ...uint64) []byte {
	for i, n := range numbers {
		if i > 0 {
			b = append(b, separator)
		}
		b = addNumber(b, n)
	}
	return b
}

// list separates the parts of a list, and writes none when there was no part.
type list struct {
	separator byte
	some      bool
}

func (l *list) next(b []byte) []byte {
	if l.some {
		b = append(b, l.separator)
	}
	l.some = true
	return b
}

func (l *list) end(b []byte) []byte {
	if !l.some {
		b = append(b, '-')
	}
	return b
}

// keys appends the keys of a map to ids and sorts them.
func keys[V any](m map[uint64]V, ids []uint64) []uint64 {
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// addConf appends voters/outgoing/learners/learners_next/auto_leave.
func addConf(b []byte, conf *pb.ConfState) []byte {
	for _, ids := range [...][]uint64{conf.GetVoters(), conf.GetVotersOutgoing(), conf.GetLearners(), conf.GetLearnersNext()} {
		b = append(addNumbers(b, ',', ids...), '/')
	}
	return addTruth(b, conf.GetAutoLeave())
}

// addTracked appends the same of the configuration that a node follows.
func addTracked(b []byte, conf *tracker.Config) []byte {
	var space [8]uint64
	for _, ids := range [...]map[uint64]struct{}{conf.Voters[0], conf.Voters[1], conf.Learners, conf.LearnersNext} {
		b = append(addNumbers(b, ',', keys(ids, space[:0])...), '/')
	}
	return addTruth(b, conf.AutoLeave)
}

// addSnapshot appends index,term,conf.
func addSnapshot(b []byte, snapshot *pb.Snapshot) []byte {
	at := snapshot.GetMetadata()
	b = addNumbers(b, ',', at.GetIndex(), at.GetTerm())
	return addConf(append(b, ','), at.GetConfState())
}

// letters of the kinds of changes, by the library's numbers.
const letters = "vrul"

// changeOf decodes a membership change, of the old kind or of the new one.
func changeOf(e *pb.Entry) pb.ConfChangeI {
	var change interface {
		pb.ConfChangeI
		proto.Message
	} = &pb.ConfChangeV2{}
	if e.GetType() == pb.EntryConfChange {
		change = &pb.ConfChange{}
	}
	must(proto.Unmarshal(e.GetData(), change))
	return change
}

// addEntries appends term/index/kind/data of each entry with ; between them.
func addEntries(b []byte, entries []*pb.Entry) []byte {
	for i, e := range entries {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(addNumbers(b, '/', e.GetTerm(), e.GetIndex(), uint64(e.GetType())), '/')
		if e.GetType() == pb.EntryNormal {
			b = hex.AppendEncode(b, e.GetData())
			continue
		}
		b = addChange(b, e)
	}
	return b
}

// addChange appends transition:changes of an entry that changes the membership.
func addChange(b []byte, e *pb.Entry) []byte {
	change := changeOf(e).AsV2()
	b = append(addNumber(b, uint64(change.GetTransition())), ':')
	for i, c := range change.GetChanges() {
		if i > 0 {
			b = append(b, ' ')
		}
		b = addNumber(append(b, letters[c.GetType()]), c.GetNodeId())
	}
	return b
}

// contextNumber is the context of a message as the number that it stands for.
func contextNumber(m *pb.Message) uint64 {
	switch context := m.GetContext(); m.GetType() {
	case pb.MsgHeartbeat, pb.MsgHeartbeatResp:
		if len(context) == 8 {
			return binary.LittleEndian.Uint64(context)
		}
	case pb.MsgVote, pb.MsgPreVote:
		if len(context) > 0 { // only an election that a transfer asked for has one
			return 1
		}
	}
	return 0
}

// addMessage appends a message and the space after it.
func addMessage(b []byte, m *pb.Message) []byte {
	from := m.GetFrom()
	if m.GetType() == pb.MsgProp {
		from = 0
	}
	reject := uint64(0)
	if m.GetReject() {
		reject = 1
	}
	b = addNumbers(b, ',', uint64(m.GetType()), from, m.GetTo(), m.GetTerm(), m.GetLogTerm(), m.GetIndex(),
		m.GetCommit(), m.GetVote(), reject, m.GetRejectHint(), contextNumber(m))
	b = addEntries(append(b, ",["...), m.GetEntries())
	b = append(b, "],("...)
	if !raft.IsEmptySnap(m.GetSnapshot()) {
		b = addSnapshot(b, m.GetSnapshot())
	}
	b = append(b, "),{"...)
	for _, response := range m.GetResponses() {
		b = addMessage(b, response)
	}
	return append(b, "} "...)
}

// addReady appends the parts of a Ready, each with a space after it.
func addReady(b []byte, rd *raft.Ready) []byte {
	if soft := rd.SoftState; soft != nil {
		b = addNumbers(append(b, "soft="...), ',', soft.Lead, uint64(soft.RaftState))
		b = append(b, ' ')
	}
	if hard := rd.HardState; !raft.IsEmptyHardState(hard) {
		b = addNumbers(append(b, "hard="...), ',', hard.GetTerm(), hard.GetVote(), hard.GetCommit())
		b = append(b, ' ')
	}
	if len(rd.ReadStates) > 0 {
		b = append(b, "reads="...)
		for i, read := range rd.ReadStates {
			if i > 0 {
				b = append(b, ';')
			}
			b = hex.AppendEncode(append(addNumber(b, read.Index), ':'), read.RequestCtx)
		}
		b = append(b, ' ')
	}
	if len(rd.Entries) > 0 {
		b = append(addEntries(append(b, "entries="...), rd.Entries), ' ')
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		b = append(addSnapshot(append(b, "snap="...), rd.Snapshot), ' ')
	}
	if len(rd.CommittedEntries) > 0 {
		b = append(addEntries(append(b, "committed="...), rd.CommittedEntries), ' ')
	}
	if rd.MustSync {
		b = append(b, "sync "...)
	}
	return b
}

// limited is a number of bytes, shown as zero where nothing limits it: then
// membership changes may be among them, and their size is a matter of the
// encoding.
func limited(bytes, limit uint64) uint64 {
	if limit == 0 {
		return 0
	}
	return bytes
}

// addState appends the state of a member.
func addState(b []byte, m *member) []byte {
	s, log := m.inner, m.storage
	snapshot, snapshotWriting := s.snapshot()
	first, last, lastTerm := log.first(), log.last(), uint64(0)
	if snapshot != nil {
		at := snapshot.GetMetadata()
		first, last, lastTerm = at.GetIndex()+1, at.GetIndex(), at.GetTerm()
	}
	if entries := s.unstable(); len(entries) > 0 {
		end := entries[len(entries)-1]
		last, lastTerm = end.GetIndex(), end.GetTerm()
	} else if snapshot == nil {
		lastTerm = log.term(last)
	}
	b = addNumbers(b, ' ', s.id(), s.term(), s.vote(), s.lead(), s.role(), s.election(), s.heartbeat(), s.timeout(),
		s.transferee(), s.pendingConf(), limited(s.uncommitted(), m.setup.MaxUncommitted), s.committed(), s.applying(), s.applied(), first, last,
		lastTerm, s.stable(), s.writing(), snapshot.GetMetadata().GetIndex())
	b = addTruth(append(b, ' '), snapshotWriting)
	b = addTruth(append(b, ' '), s.applyPaused())
	b = addTruth(append(b, ' '), m.node.HasReady())

	tracked := s.tracker()
	b = append(addTracked(append(b, ' '), &tracked.Config), ' ')

	var space [8]uint64
	ids := keys(tracked.Progress, space[:0])
	votes := list{separator: ','}
	for _, id := range ids {
		if granted, ok := tracked.Votes[id]; ok {
			b = addTruth(append(addNumber(votes.next(b), id), ':'), granted)
		}
	}
	b = append(votes.end(b), ' ')

	progress := list{separator: ';'}
	for _, id := range ids {
		p := tracked.Progress[id]
		b = addNumbers(progress.next(b), ',', id, p.Match, p.Next, sentCommit(p), uint64(p.State), p.PendingSnapshot)
		b = addTruth(append(b, ','), p.RecentActive)
		b = addTruth(append(b, ','), p.MsgAppFlowPaused)
		b = addNumbers(append(b, ','), ',', uint64(p.Inflights.Count()),
			limited(inflightBytes(p.Inflights), m.setup.MaxInflightBytes))
	}
	b = append(progress.end(b), ' ')

	b = append(addReads(b, s, ids), ' ')
	b = addNumbers(b, ',', log.hard.term, log.hard.vote, log.hard.commit, log.snapIndex, log.snapTerm,
		log.first(), log.last(), log.term(log.last()), m.machine.applied)
	return b
}

// addReads appends confirmed:unconfirmed:pending:states:acks; ids are the
// members with a progress.
func addReads(b []byte, s inner, ids []uint64) []byte {
	reads := s.reads()
	b = append(addNumber(b, reads.confirmed()), ':')
	part := list{separator: ','}
	for _, read := range reads.unconfirmed() {
		b = append(addNumber(part.next(b), read.index()), '.')
		b = hex.AppendEncode(b, readContext(read.request()))
	}
	b = append(part.end(b), ':')
	part = list{separator: ','}
	for _, request := range s.pendingReads() {
		b = hex.AppendEncode(part.next(b), readContext(request))
	}
	b = append(part.end(b), ':')
	part = list{separator: ','}
	for _, state := range s.readStates() {
		b = append(addNumber(part.next(b), state.Index), '.')
		b = hex.AppendEncode(b, state.RequestCtx)
	}
	b = append(part.end(b), ':')
	part = list{separator: ','}
	acks := reads.acks()
	for _, id := range ids {
		if position, ok := acks[id]; ok {
			b = addNumbers(part.next(b), '.', id, position)
		}
	}
	return part.end(b)
}

// readContext is the context of a request to read.
func readContext(request *pb.Message) []byte {
	if entries := request.GetEntries(); len(entries) > 0 {
		return entries[0].GetData()
	}
	return nil
}
