// What outlives a crash: the storage of a member, which is the library's
// MemoryStorage with the hard state and the snapshot's position at hand, and
// the state machine, which is no more than how far it is and the
// configurations on the way.

package main

import (
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// storage is the stable storage of one member.
type storage struct {
	*raft.MemoryStorage
	hard struct{ term, vote, commit uint64 }
	// The newest snapshot: its position and its configuration.
	snapIndex, snapTerm uint64
	snapConf            *pb.ConfState
	// The configuration that the library begins with when it is constructed.
	initial *pb.ConfState
}

// newStorage makes a storage that begins with a snapshot of term 1 at index
// start and with the given configuration; with start 0 it is empty.
func newStorage(start uint64, conf *pb.ConfState) *storage {
	s := &storage{MemoryStorage: raft.NewMemoryStorage(), snapConf: &pb.ConfState{}}
	if start > 0 {
		s.saveSnapshot(&pb.Snapshot{
			Metadata: &pb.SnapshotMetadata{Index: new(start), Term: new(uint64(1)), ConfState: conf},
		})
		s.saveHardState(1, 0, start)
	}
	s.initial = s.snapConf
	return s
}

// InitialState is what the library reads when it is constructed.
func (s *storage) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hard, _, err := s.MemoryStorage.InitialState()
	return hard, s.initial, err
}

func (s *storage) saveHardState(term, vote, commit uint64) {
	s.hard.term, s.hard.vote, s.hard.commit = term, vote, commit
	must(s.SetHardState(&pb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}))
}

func (s *storage) saveEntries(entries []*pb.Entry) {
	must(s.Append(entries))
}

// saveSnapshot replaces the log by a snapshot that was received.
func (s *storage) saveSnapshot(snapshot *pb.Snapshot) {
	must(s.ApplySnapshot(snapshot))
	s.tookSnapshot(snapshot)
}

// makeSnapshot makes a snapshot of the member itself. The log stays.
func (s *storage) makeSnapshot(index uint64, conf *pb.ConfState, data []byte) {
	snapshot, err := s.CreateSnapshot(index, conf, data)
	must(err)
	s.tookSnapshot(snapshot)
}

func (s *storage) tookSnapshot(snapshot *pb.Snapshot) {
	at := snapshot.GetMetadata()
	s.snapIndex, s.snapTerm, s.snapConf = at.GetIndex(), at.GetTerm(), at.GetConfState()
}

// first, last and term are FirstIndex, LastIndex and Term, which in memory do
// not fail for an index of the log or the one ahead of it.
func (s *storage) first() uint64 {
	index, err := s.FirstIndex()
	must(err)
	return index
}

func (s *storage) last() uint64 {
	index, err := s.LastIndex()
	must(err)
	return index
}

func (s *storage) term(index uint64) uint64 {
	term, err := s.Term(index)
	must(err)
	return term
}

// machine is the state machine of one member.
type machine struct {
	applied uint64
	confs   []confAt // by index, ascending
}

// confAt is a configuration and the index from which on it is in force.
type confAt struct {
	index uint64
	conf  *pb.ConfState
}

// conf is the configuration in force at an index that is not below the
// storage's snapshot.
func (m *machine) conf(index uint64, s *storage) *pb.ConfState {
	if index > s.snapIndex {
		for _, at := range slices.Backward(m.confs) {
			if at.index <= index && at.index >= s.snapIndex {
				return at.conf
			}
		}
	}
	return s.snapConf
}

// set puts a configuration in force from an index on.
func (m *machine) set(index uint64, conf *pb.ConfState) {
	m.forget(index)
	m.confs = append(m.confs, confAt{index, conf})
}

// forget drops the configurations from an index on.
func (m *machine) forget(from uint64) {
	for len(m.confs) > 0 && m.confs[len(m.confs)-1].index >= from {
		m.confs = m.confs[:len(m.confs)-1]
	}
}

// restore lets the state machine take a snapshot.
func (m *machine) restore(snapshot *pb.Snapshot) {
	at := snapshot.GetMetadata()
	m.applied = at.GetIndex()
	m.set(m.applied, at.GetConfState())
}

// must ends the program when something fails that cannot fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
