// The lines of a scenario. The head is rare and read with encoding/json; the
// steps are small arrays of numbers, strings and booleans, and have a reader of
// their own that checks them against the table of verbs.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// head describes the members of a scenario.
type head struct {
	seed  uint64
	nodes []nodeSetup
	// Who lives here, nil for all; whether every step is answered at once.
	hosted      []uint64
	interactive bool
}

// nodeSetup is one member as the head describes it.
type nodeSetup struct {
	ID               uint64   `json:"id"`
	Voters           []uint64 `json:"voters"`
	Outgoing         []uint64 `json:"outgoing"`
	Learners         []uint64 `json:"learners"`
	LearnersNext     []uint64 `json:"learners_next"`
	AutoLeave        bool     `json:"auto_leave"`
	Start            uint64   `json:"start"`
	Election         int      `json:"election"`
	Heartbeat        int      `json:"heartbeat"`
	PreVote          bool     `json:"pre_vote"`
	CheckQuorum      bool     `json:"check_quorum"`
	LeaseReads       bool     `json:"lease_reads"`
	Async            bool     `json:"async"`
	Forwarding       bool     `json:"forwarding"`
	Validate         bool     `json:"validate"`
	StepDown         bool     `json:"step_down"`
	OneEntryMessages bool     `json:"one_entry_messages"`
	OneEntryApplies  bool     `json:"one_entry_applies"`
	MaxInflight      int      `json:"max_inflight"`
	MaxInflightBytes uint64   `json:"max_inflight_bytes"`
	MaxUncommitted   uint64   `json:"max_uncommitted"`
}

// parseHead reads a head. Fields of a member that this harness does not know
// are refused: a harness that ignored them would answer something else.
func parseHead(line []byte) (*head, error) {
	var raw struct {
		Scenario    int               `json:"scenario"`
		Seed        uint64            `json:"seed"`
		Nodes       []json.RawMessage `json:"nodes"`
		Hosted      []uint64          `json:"hosted"`
		Interactive bool              `json:"interactive"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	if raw.Scenario != 1 {
		return nil, fmt.Errorf("head: version %d of the protocol is unknown", raw.Scenario)
	}
	if raw.Hosted != nil && !raw.Interactive {
		return nil, fmt.Errorf("head: messages for members that are not hosted have no place in a session that is not interactive")
	}
	h := &head{seed: raw.Seed, hosted: raw.Hosted, interactive: raw.Interactive}
	for _, text := range raw.Nodes {
		n := nodeSetup{Election: 10, Heartbeat: 1, Forwarding: true, Validate: true, MaxInflight: 256}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&n); err != nil {
			return nil, fmt.Errorf("head: member: %w", err)
		}
		for _, ids := range [][]uint64{n.Voters, n.Outgoing, n.Learners, n.LearnersNext} {
			slices.Sort(ids)
		}
		h.nodes = append(h.nodes, n)
	}
	return h, nil
}

// verb is what a step does.
type verb uint8

const (
	verbEnd verb = iota
	verbTick
	verbCampaign
	verbPropose
	verbChange
	verbDeliver
	verbDrop
	verbDuplicate
	verbMove
	verbReady
	verbPersist
	verbApply
	verbCrash
	verbRestart
	verbSnapshot
	verbCompact
	verbRead
	verbTransfer
	verbForget
	verbUnreachable
	verbReport
	verbGive
)

// verbs has for each name the verb and its arguments: n a number, s a string,
// b a boolean (or 0 or 1), o an object, each once; the last one may be followed by * (any
// number of them) or ? (it may be missing).
var verbs = map[string]struct {
	verb      verb
	arguments string
}{
	"end":         {verbEnd, "s?"},
	"tick":        {verbTick, "n"},
	"campaign":    {verbCampaign, "n"},
	"propose":     {verbPropose, "ns*"},
	"change":      {verbChange, "nsnb"},
	"deliver":     {verbDeliver, "n"},
	"drop":        {verbDrop, "n"},
	"duplicate":   {verbDuplicate, "n"},
	"move":        {verbMove, "nn"},
	"ready":       {verbReady, "n"},
	"persist":     {verbPersist, "n"},
	"apply":       {verbApply, "n"},
	"crash":       {verbCrash, "n"},
	"restart":     {verbRestart, "nn"},
	"snapshot":    {verbSnapshot, "n"},
	"compact":     {verbCompact, "nn"},
	"read":        {verbRead, "ns"},
	"transfer":    {verbTransfer, "nn"},
	"forget":      {verbForget, "n"},
	"unreachable": {verbUnreachable, "nn"},
	"report":      {verbReport, "nnb"},
	"give":        {verbGive, "no"},
}

// step is one step of a scenario, its arguments checked. It is used again for
// the next one.
type step struct {
	verb verb
	args []argument
}

// argument is an argument of a step: n for numbers and booleans, s for strings
// and for the text of objects.
type argument struct {
	kind byte // as in verbs
	n    uint64
	s    string
}

func (s *step) number(i int) uint64 { return s.args[i].n }
func (s *step) text(i int) string   { return s.args[i].s }
func (s *step) truth(i int) bool    { return s.args[i].n != 0 }

// parse reads a step from its line.
func (s *step) parse(line []byte) error {
	in := reader{rest: line}
	if !in.take('[') {
		return fmt.Errorf("step %q: not an array", line)
	}
	name, err := in.str()
	if err != nil {
		return fmt.Errorf("step %q: %w", line, err)
	}
	known, ok := verbs[string(name)]
	if !ok {
		return fmt.Errorf("step %q: unknown", line)
	}
	s.verb, s.args = known.verb, s.args[:0]
	for in.take(',') {
		a, err := in.argument()
		if err != nil {
			return fmt.Errorf("step %q: %w", line, err)
		}
		s.args = append(s.args, a)
	}
	if !in.take(']') || !in.end() {
		return fmt.Errorf("step %q: no end of the array", line)
	}
	if !s.fits(known.arguments) {
		return fmt.Errorf("step %q: wrong arguments", line)
	}
	return nil
}

// fits checks the arguments against a description as in verbs.
func (s *step) fits(description string) bool {
	i := 0
	for d := 0; d < len(description); d++ {
		least, most := 1, 1
		if d+1 < len(description) {
			switch description[d+1] {
			case '*':
				least, most = 0, len(s.args)
			case '?':
				least = 0
			}
		}
		found := 0
		for ; found < most && i < len(s.args) && s.args[i].fits(description[d]); found++ {
			i++
		}
		if found < least {
			return false
		}
		if least == 0 {
			d++ // over the mark
		}
	}
	return i == len(s.args)
}

func (a *argument) fits(kind byte) bool {
	return a.kind == kind || kind == 'b' && a.kind == 'n' && a.n <= 1
}

// reader takes the parts of a JSON text from its front.
type reader struct{ rest []byte }

func (r *reader) space() {
	for len(r.rest) > 0 && (r.rest[0] == ' ' || r.rest[0] == '\t') {
		r.rest = r.rest[1:]
	}
}

func (r *reader) take(c byte) bool {
	r.space()
	if len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *reader) end() bool {
	r.space()
	return len(r.rest) == 0
}

// str takes a string; what it returns may be part of the line.
func (r *reader) str() ([]byte, error) {
	if !r.take('"') {
		return nil, fmt.Errorf("a string is missing")
	}
	escaped := false
	for i := 0; i < len(r.rest); i++ {
		switch r.rest[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			text := r.rest[:i]
			r.rest = r.rest[i+1:]
			if !escaped {
				return text, nil
			}
			var plain string
			err := json.Unmarshal(append(append([]byte{'"'}, text...), '"'), &plain)
			return []byte(plain), err
		}
	}
	return nil, fmt.Errorf("a string without an end")
}

func (r *reader) argument() (argument, error) {
	r.space()
	if len(r.rest) == 0 {
		return argument{}, fmt.Errorf("an argument is missing")
	}
	switch c := r.rest[0]; {
	case c == '{':
		var text json.RawMessage
		decoder := json.NewDecoder(bytes.NewReader(r.rest))
		if err := decoder.Decode(&text); err != nil {
			return argument{}, err
		}
		r.rest = r.rest[decoder.InputOffset():]
		return argument{kind: 'o', s: string(text)}, nil
	case c == '"':
		text, err := r.str()
		return argument{kind: 's', s: string(text)}, err
	case c >= '0' && c <= '9':
		n, i := uint64(0), 0
		for ; i < len(r.rest) && r.rest[i] >= '0' && r.rest[i] <= '9'; i++ {
			digit := uint64(r.rest[i] - '0')
			if n > (1<<64-1-digit)/10 {
				return argument{}, fmt.Errorf("a number is too large")
			}
			n = n*10 + digit
		}
		r.rest = r.rest[i:]
		return argument{kind: 'n', n: n}, nil
	case bytes.HasPrefix(r.rest, []byte("true")):
		r.rest = r.rest[4:]
		return argument{kind: 'b', n: 1}, nil
	case bytes.HasPrefix(r.rest, []byte("false")):
		r.rest = r.rest[5:]
		return argument{kind: 'b'}, nil
	}
	return argument{}, fmt.Errorf("neither a number nor a string, a boolean or an object")
}
