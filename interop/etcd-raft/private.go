// The unexported fields of the library that an answer shows or the protocol
// sets. Where each of them lies is found once, by name and with its type
// checked, through reflection; afterwards they are read through pointers. A
// version of the library that lacks a field or has it with another type stops
// the program when it starts.

package main

import (
	"fmt"
	"reflect"
	"unsafe"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// record is an unexported struct type of the library.
type record struct{ reflect.Type }

// field finds a field.
func (r record) field(name string) reflect.StructField {
	if f, ok := r.FieldByName(name); ok {
		return f
	}
	panic(fmt.Sprintf("this version of the library has no field %v.%s", r.Type, name))
}

func wrong(r record, f reflect.StructField, want any) string {
	return fmt.Sprintf("this version of the library has %v.%s as %v, not as %v", r.Type, f.Name, f.Type, want)
}

// pointer finds a field that points to a struct.
func (r record) pointer(name string) (uintptr, record) {
	f := r.field(name)
	if f.Type.Kind() != reflect.Pointer || f.Type.Elem().Kind() != reflect.Struct {
		panic(wrong(r, f, "a pointer to a struct"))
	}
	return f.Offset, record{f.Type.Elem()}
}

// slot is where in its struct a field of type T lies.
type slot[T any] struct{ offset uintptr }

// in is the field in the struct at p.
func (s slot[T]) in(p unsafe.Pointer) *T { return (*T)(unsafe.Add(p, s.offset)) }

// find finds a field of type T. An integer may have a named type of T's kind.
func find[T any](r record, name string) slot[T] {
	f, want := r.field(name), reflect.TypeFor[T]()
	integer := want.PkgPath() == "" && (want.Kind() == reflect.Uint64 || want.Kind() == reflect.Int)
	if f.Type != want && !(integer && f.Type.Kind() == want.Kind()) {
		panic(wrong(r, f, want))
	}
	return slot[T]{f.Offset}
}

// plus is a slot of a struct that itself lies at an offset in another one.
func plus[T any](offset uintptr, s slot[T]) slot[T] { return slot[T]{offset + s.offset} }

// private has the slots.
var private = func() (l struct {
	node struct{ raft slot[unsafe.Pointer] }
	raft struct {
		id, term, vote, lead, transferee, pendingConf, uncommitted slot[uint64]

		role      slot[raft.StateType]
		election  slot[int] // ticks since the last election timeout, and so on
		heartbeat slot[int]
		timeout   slot[int] // the randomized one
		tracker   slot[tracker.ProgressTracker]
		pending   slot[[]*pb.Message] // reads that wait for a commit of this term
		states    slot[[]raft.ReadState]
		log       slot[unsafe.Pointer]
		reads     slot[unsafe.Pointer]
	}
	log struct {
		committed, applying, applied, offset, writing slot[uint64]

		paused          slot[bool]
		snapshot        slot[*pb.Snapshot]
		snapshotWriting slot[bool]
		entries         slot[[]*pb.Entry]
	}
	reads struct {
		acks        slot[map[uint64]uint64]
		unconfirmed slot[[]unsafe.Pointer]
		confirmed   slot[uint64]
	}
	read struct {
		request slot[*pb.Message]
		index   slot[uint64]
	}
	progress struct{ sentCommit slot[uint64] }
	inflight struct{ bytes slot[uint64] }
}) {
	node := record{reflect.TypeFor[raft.RawNode]()}
	offset, r := node.pointer("raft")
	l.node.raft = slot[unsafe.Pointer]{offset}

	l.raft.id = find[uint64](r, "id")
	l.raft.term = find[uint64](r, "Term")
	l.raft.vote = find[uint64](r, "Vote")
	l.raft.lead = find[uint64](r, "lead")
	l.raft.role = find[raft.StateType](r, "state")
	l.raft.election = find[int](r, "electionElapsed")
	l.raft.heartbeat = find[int](r, "heartbeatElapsed")
	l.raft.timeout = find[int](r, "randomizedElectionTimeout")
	l.raft.transferee = find[uint64](r, "leadTransferee")
	l.raft.pendingConf = find[uint64](r, "pendingConfIndex")
	l.raft.uncommitted = find[uint64](r, "uncommittedSize")
	l.raft.tracker = find[tracker.ProgressTracker](r, "trk")
	l.raft.pending = find[[]*pb.Message](r, "pendingReadIndexMessages")
	l.raft.states = find[[]raft.ReadState](r, "readStates")

	offset, log := r.pointer("raftLog")
	l.raft.log = slot[unsafe.Pointer]{offset}
	l.log.committed = find[uint64](log, "committed")
	l.log.applying = find[uint64](log, "applying")
	l.log.applied = find[uint64](log, "applied")
	l.log.paused = find[bool](log, "applyingEntsPaused")
	unstable := log.field("unstable")
	if unstable.Type.Kind() != reflect.Struct {
		panic(wrong(log, unstable, "a struct"))
	}
	tail := record{unstable.Type}
	l.log.snapshot = plus(unstable.Offset, find[*pb.Snapshot](tail, "snapshot"))
	l.log.snapshotWriting = plus(unstable.Offset, find[bool](tail, "snapshotInProgress"))
	l.log.entries = plus(unstable.Offset, find[[]*pb.Entry](tail, "entries"))
	l.log.offset = plus(unstable.Offset, find[uint64](tail, "offset"))
	l.log.writing = plus(unstable.Offset, find[uint64](tail, "offsetInProgress"))

	offset, reads := r.pointer("readOnly")
	l.raft.reads = slot[unsafe.Pointer]{offset}
	l.reads.acks = find[map[uint64]uint64](reads, "acks")
	l.reads.confirmed = find[uint64](reads, "confirmedReads")
	requests := reads.field("unconfirmedReads")
	if t := requests.Type; t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Pointer ||
		t.Elem().Elem().Kind() != reflect.Struct {
		panic(wrong(reads, requests, "a slice of pointers to a struct"))
	}
	l.reads.unconfirmed = slot[[]unsafe.Pointer]{requests.Offset}
	read := record{requests.Type.Elem().Elem()}
	l.read.request = find[*pb.Message](read, "req")
	l.read.index = find[uint64](read, "index")

	l.progress.sentCommit = find[uint64](record{reflect.TypeFor[tracker.Progress]()}, "sentCommit")
	l.inflight.bytes = find[uint64](record{reflect.TypeFor[tracker.Inflights]()}, "bytes")
	return l
}()

// inner is a node's unexported state. It is valid as long as the node is.
type inner struct{ raft, log unsafe.Pointer }

// look finds the unexported state of a node.
func look(node *raft.RawNode) inner {
	r := *private.node.raft.in(unsafe.Pointer(node))
	return inner{raft: r, log: *private.raft.log.in(r)}
}

func (i inner) id() uint64          { return *private.raft.id.in(i.raft) }
func (i inner) term() uint64        { return *private.raft.term.in(i.raft) }
func (i inner) vote() uint64        { return *private.raft.vote.in(i.raft) }
func (i inner) lead() uint64        { return *private.raft.lead.in(i.raft) }
func (i inner) role() uint64        { return uint64(*private.raft.role.in(i.raft)) }
func (i inner) election() uint64    { return uint64(*private.raft.election.in(i.raft)) }
func (i inner) heartbeat() uint64   { return uint64(*private.raft.heartbeat.in(i.raft)) }
func (i inner) timeout() uint64     { return uint64(*private.raft.timeout.in(i.raft)) }
func (i inner) setTimeout(t uint64) { *private.raft.timeout.in(i.raft) = int(t) }
func (i inner) transferee() uint64  { return *private.raft.transferee.in(i.raft) }
func (i inner) pendingConf() uint64 { return *private.raft.pendingConf.in(i.raft) }
func (i inner) uncommitted() uint64 { return *private.raft.uncommitted.in(i.raft) }
func (i inner) committed() uint64   { return *private.log.committed.in(i.log) }
func (i inner) applying() uint64    { return *private.log.applying.in(i.log) }
func (i inner) applied() uint64     { return *private.log.applied.in(i.log) }
func (i inner) applyPaused() bool   { return *private.log.paused.in(i.log) }

// stable is the last index that is stable.
func (i inner) stable() uint64 { return *private.log.offset.in(i.log) - 1 }

// writing is the last index that is stable or being written.
func (i inner) writing() uint64 { return *private.log.writing.in(i.log) - 1 }

// unstable has the entries after stable.
func (i inner) unstable() []*pb.Entry { return *private.log.entries.in(i.log) }

// snapshot is the restored snapshot that is not stable yet, or nil; writing
// tells whether it is being written.
func (i inner) snapshot() (snapshot *pb.Snapshot, writing bool) {
	return *private.log.snapshot.in(i.log), *private.log.snapshotWriting.in(i.log)
}

// tracker has the configuration, the votes and the progress of the members.
func (i inner) tracker() *tracker.ProgressTracker { return private.raft.tracker.in(i.raft) }

// pendingReads are the reads that wait for the first commit of the term.
func (i inner) pendingReads() []*pb.Message { return *private.raft.pending.in(i.raft) }

// readStates are the results that no Ready has taken.
func (i inner) readStates() []raft.ReadState { return *private.raft.states.in(i.raft) }

// reads are the reads that the leader has under way.
func (i inner) reads() innerReads { return innerReads{*private.raft.reads.in(i.raft)} }

type innerReads struct{ at unsafe.Pointer }

func (r innerReads) confirmed() uint64        { return *private.reads.confirmed.in(r.at) }
func (r innerReads) acks() map[uint64]uint64  { return *private.reads.acks.in(r.at) }
func (r innerReads) unconfirmed() []innerRead { return asReads(*private.reads.unconfirmed.in(r.at)) }
func asReads(pointers []unsafe.Pointer) []innerRead {
	return unsafe.Slice((*innerRead)(unsafe.Pointer(unsafe.SliceData(pointers))), len(pointers))
}

// innerRead is a read that is not confirmed.
type innerRead struct{ at unsafe.Pointer }

func (r innerRead) request() *pb.Message { return *private.read.request.in(r.at) }
func (r innerRead) index() uint64        { return *private.read.index.in(r.at) }

// sentCommit is the commit index that was sent to a member.
func sentCommit(p *tracker.Progress) uint64 {
	return *private.progress.sentCommit.in(unsafe.Pointer(p))
}

// inflightBytes are the bytes in flight to a member.
func inflightBytes(i *tracker.Inflights) uint64 {
	return *private.inflight.bytes.in(unsafe.Pointer(i))
}
