// Members that another harness hosts: the neutral form of the messages that
// leave for them and come from them, and the lines of an interactive session.
// The form is that of interop/protocol.md, chapter Mixed clusters; nothing in
// it depends on how this library encodes changes of membership or contexts.

package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// transferContext is what the library puts into requests for votes that a
// transfer of the leadership asked for.
const transferContext = "CampaignTransfer"

// outsideMessage is a message in the neutral form. Zeros are left out.
type outsideMessage struct {
	Type     uint64           `json:"type"`
	From     uint64           `json:"from,omitempty"`
	To       uint64           `json:"to"`
	Term     uint64           `json:"term,omitempty"`
	LogTerm  uint64           `json:"log_term,omitempty"`
	Index    uint64           `json:"index,omitempty"`
	Commit   uint64           `json:"commit,omitempty"`
	Vote     uint64           `json:"vote,omitempty"`
	Reject   bool             `json:"reject,omitempty"`
	Hint     uint64           `json:"hint,omitempty"`
	Context  uint64           `json:"context,omitempty"`
	Entries  []outsideEntry   `json:"entries,omitempty"`
	Snapshot *outsideSnapshot `json:"snapshot,omitempty"`
}

// outsideEntry is an entry; Data is hexadecimal, or transition:changes.
type outsideEntry struct {
	Term  uint64 `json:"term,omitempty"`
	Index uint64 `json:"index,omitempty"`
	Kind  uint64 `json:"kind,omitempty"`
	Data  string `json:"data,omitempty"`
}

// outsideSnapshot is a snapshot with its configuration; Data is hexadecimal.
type outsideSnapshot struct {
	Index        uint64   `json:"index"`
	Term         uint64   `json:"term"`
	Voters       []uint64 `json:"voters,omitempty"`
	Outgoing     []uint64 `json:"outgoing,omitempty"`
	Learners     []uint64 `json:"learners,omitempty"`
	LearnersNext []uint64 `json:"learners_next,omitempty"`
	AutoLeave    bool     `json:"auto_leave,omitempty"`
	Data         string   `json:"data,omitempty"`
}

// uses has for each kind that travels what its messages may say, besides type,
// from and to.
var uses = map[pb.MessageType]string{
	pb.MsgProp:           "entries",
	pb.MsgApp:            "term log_term index commit entries",
	pb.MsgAppResp:        "term log_term index reject hint",
	pb.MsgVote:           "term log_term index context",
	pb.MsgVoteResp:       "term reject",
	pb.MsgSnap:           "term snapshot",
	pb.MsgHeartbeat:      "term commit context",
	pb.MsgHeartbeatResp:  "term context",
	pb.MsgTransferLeader: "term",
	pb.MsgTimeoutNow:     "term",
	pb.MsgReadIndex:      "entries",
	pb.MsgReadIndexResp:  "term index entries",
	pb.MsgPreVote:        "term log_term index context",
	pb.MsgPreVoteResp:    "term reject",
}

// check refuses a message that does not travel, or that says more than its
// kind may say.
func (in *outsideMessage) check() error {
	known, ok := uses[pb.MessageType(in.Type)]
	if !ok || in.Type > uint64(pb.MsgPreVoteResp) {
		return fmt.Errorf("message: kind %d does not travel", in.Type)
	}
	for name, said := range map[string]bool{
		"term": in.Term > 0, "log_term": in.LogTerm > 0, "index": in.Index > 0, "commit": in.Commit > 0, "vote": in.Vote > 0,
		"reject": in.Reject, "hint": in.Hint > 0, "context": in.Context > 0, "entries": len(in.Entries) > 0,
		"snapshot": in.Snapshot != nil,
	} {
		if said && !slices.Contains(strings.Fields(known), name) {
			return fmt.Errorf("message: kind %d has no %s", in.Type, name)
		}
	}
	if pb.MessageType(in.Type) == pb.MsgSnap && in.Snapshot == nil {
		return fmt.Errorf("message: a MsgSnap without a snapshot")
	}
	return nil
}

// neutral is the neutral form of a message of the library.
func neutral(m *pb.Message) *outsideMessage {
	out := &outsideMessage{
		Type: uint64(m.GetType()), From: m.GetFrom(), To: m.GetTo(), Term: m.GetTerm(), LogTerm: m.GetLogTerm(),
		Index: m.GetIndex(), Commit: m.GetCommit(), Vote: m.GetVote(), Reject: m.GetReject(), Hint: m.GetRejectHint(),
		Context: contextNumber(m),
	}
	for _, e := range m.GetEntries() {
		data := ""
		if e.GetType() == pb.EntryNormal {
			data = hex.EncodeToString(e.GetData())
		} else {
			data = string(addChange(nil, e))
		}
		out.Entries = append(out.Entries, outsideEntry{e.GetTerm(), e.GetIndex(), uint64(e.GetType()), data})
	}
	if s := m.GetSnapshot(); !raft.IsEmptySnap(s) {
		at := s.GetMetadata()
		conf := at.GetConfState()
		out.Snapshot = &outsideSnapshot{
			at.GetIndex(), at.GetTerm(), sorted(conf.GetVoters()), sorted(conf.GetVotersOutgoing()),
			sorted(conf.GetLearners()), sorted(conf.GetLearnersNext()), conf.GetAutoLeave(), hex.EncodeToString(s.GetData()),
		}
	}
	must(out.check())
	return out
}

func sorted(ids []uint64) []uint64 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

// optional is a field that is absent when it is zero.
func optional(n uint64) *uint64 {
	if n == 0 {
		return nil
	}
	return new(n)
}

// parseOutside reads a message in the neutral form. What the form does not
// know is refused: a field that was ignored would make another message of it.
func parseOutside(text []byte) (*pb.Message, error) {
	var in outsideMessage
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return in.message()
}

// message is the library's form of a message.
func (in *outsideMessage) message() (*pb.Message, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	kind := pb.MessageType(in.Type)
	m := &pb.Message{
		Type: kind.Enum(), From: new(in.From), To: new(in.To), Term: optional(in.Term), LogTerm: optional(in.LogTerm),
		Index: optional(in.Index), Commit: optional(in.Commit), RejectHint: optional(in.Hint),
	}
	if in.Reject {
		m.Reject = new(true)
	}
	if in.Context > 0 {
		context, err := contextOf(kind, in.Context)
		if err != nil {
			return nil, err
		}
		m.Context = context
	}
	for i := range in.Entries {
		e, err := in.Entries[i].entry()
		if err != nil {
			return nil, err
		}
		m.Entries = append(m.Entries, e)
	}
	if s := in.Snapshot; s != nil {
		data, err := hex.DecodeString(s.Data)
		if err != nil {
			return nil, fmt.Errorf("message: snapshot: %w", err)
		}
		m.Snapshot = &pb.Snapshot{Data: data, Metadata: &pb.SnapshotMetadata{
			Index: new(s.Index), Term: new(s.Term), ConfState: &pb.ConfState{
				Voters: s.Voters, VotersOutgoing: s.Outgoing, Learners: s.Learners, LearnersNext: s.LearnersNext,
				AutoLeave: new(s.AutoLeave),
			},
		}}
	}
	return m, nil
}

// contextOf is the library's context that stands for a number: the reverse of
// contextNumber.
func contextOf(kind pb.MessageType, n uint64) ([]byte, error) {
	switch kind {
	case pb.MsgHeartbeat, pb.MsgHeartbeatResp:
		// Eight bytes, the lowest first.
		b := make([]byte, 8)
		for i := range b {
			b[i] = byte(n >> (8 * i))
		}
		return b, nil
	case pb.MsgVote, pb.MsgPreVote:
		if n == 1 {
			return []byte(transferContext), nil
		}
	}
	return nil, fmt.Errorf("message: kind %d has no context %d", kind, n)
}

// entry is the library's form of an entry.
func (in *outsideEntry) entry() (*pb.Entry, error) {
	e := &pb.Entry{Term: optional(in.Term), Index: optional(in.Index), Type: pb.EntryType(in.Kind).Enum()}
	switch {
	case in.Kind == uint64(pb.EntryNormal):
		data, err := hex.DecodeString(in.Data)
		if err != nil {
			return nil, fmt.Errorf("message: entry: %w", err)
		}
		if len(data) > 0 {
			e.Data = data
		}
		return e, nil
	case in.Kind > uint64(pb.EntryConfChangeV2):
		return nil, fmt.Errorf("message: entry of kind %d", in.Kind)
	}
	number, changes, _ := strings.Cut(in.Data, ":")
	transition, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("message: change %q: %w", in.Data, err)
	}
	change, err := parseChange(changes, transition, in.Kind == uint64(pb.EntryConfChange))
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(change.(proto.Message))
	must(err)
	if len(data) > 0 {
		e.Data = data
	}
	return e, nil
}

// give steps a message from outside into its recipient.
func (c *cluster) give(s *step) (result string, shown *member, err error) {
	message, err := parseOutside([]byte(s.text(1)))
	if err != nil {
		return "", nil, err
	}
	m := c.members[message.GetTo()]
	if m == nil || m.node == nil {
		return lost, nil, nil
	}
	return resultOf(m.step(message)), m, nil
}

// leaves tells whether a message is for a member that lives elsewhere.
func (c *cluster) leaves(to uint64) bool {
	return c.hosted != nil && !slices.Contains(c.hosted, to)
}

// answerStep writes the line that answers a step of an interactive session:
// the answer, the messages that left, and why the library gave up if it did.
func (s *session) answerStep(out io.Writer, answer []byte) error {
	line := []any{string(answer), s.cluster.left}
	if s.cluster.left == nil {
		line[1] = []any{}
	}
	if s.over {
		line = append(line, s.cluster.reason)
	}
	text, err := json.Marshal(line)
	must(err)
	_, err = out.Write(append(text, '\n'))
	return err
}
