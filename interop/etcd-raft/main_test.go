// Scenarios with answers that are known, and random ones that must run the
// same twice.
//
//	go test ./...
//	go test -bench . -cpu 1

package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

// Positions in the state of an answer.
const (
	atTerm      = 1
	atLead      = 3
	atRole      = 4
	atTimeout   = 7
	atCommitted = 11
	atApplied   = 13
	atFirst     = 14
	atLast      = 15
	atStable    = 17
	atWriting   = 18
	atConf      = 23
	atVotes     = 24
	atProgress  = 25
	atReads     = 26
	atStorage   = 27
	stateParts  = 28
)

// script runs steps as it is told and keeps them.
type script struct {
	t       testing.TB
	session session
	lines   []string
	states  map[uint64][]string // the newest state of each member
}

// begin starts a scenario; each node is the JSON of a member without braces.
func begin(t testing.TB, nodes ...string) *script {
	t.Helper()
	s := &script{t: t, states: map[uint64][]string{}}
	s.feed(fmt.Sprintf(`{"scenario": 1, "name": "%s", "seed": 17, "nodes": [{%s}]}`, t.Name(), strings.Join(nodes, "}, {")))
	return s
}

func three(more string) []string {
	var nodes []string
	for id := 1; id <= 3; id++ {
		nodes = append(nodes, fmt.Sprintf(`"id": %d, "voters": [3, 2, 1], "start": 5%s`, id, more))
	}
	return nodes
}

func (s *script) feed(line string) {
	s.t.Helper()
	s.lines = append(s.lines, line)
	if _, err := s.session.line([]byte(line)); err != nil {
		s.t.Fatal(err)
	}
}

// do runs a step and returns the parts of its answer.
func (s *script) do(parts ...any) (result, ready, sent, state string) {
	s.t.Helper()
	line, err := json.Marshal(parts)
	must(err)
	before := len(s.session.ends)
	s.feed(string(line))
	if len(s.session.ends) == before {
		return "", "", "", ""
	}
	begin := 0
	if before > 0 {
		begin = s.session.ends[before-1]
	}
	answer := strings.Split(string(s.session.answers[begin:]), "|")
	if len(answer) != 4 {
		s.t.Fatalf("%s: %q", line, answer)
	}
	if answer[3] != "" {
		state := strings.Split(answer[3], " ")
		if len(state) != stateParts {
			s.t.Fatalf("%s: %q", line, state)
		}
		var id uint64
		fmt.Sscan(state[0], &id)
		s.states[id] = state
	}
	return answer[0], answer[1], answer[2], answer[3]
}

// expect runs a step and checks its result.
func (s *script) expect(result string, parts ...any) {
	s.t.Helper()
	if got, _, _, _ := s.do(parts...); got != result {
		s.t.Fatalf("%v: %q, not %q", parts, got, result)
	}
}

// settle lets everybody work and delivers everything until all is quiet.
// It returns every message that was sent.
func (s *script) settle() (sent []string) {
	s.t.Helper()
	for range 1000 {
		quiet := true
		for _, id := range keys(s.session.cluster.members, nil) {
			for _, step := range []string{"ready", "persist", "apply"} {
				result, _, messages, _ := s.do(step, id)
				sent = append(sent, strings.Fields(messages)...)
				quiet = quiet && result != ok
			}
		}
		for len(s.session.cluster.network) > 0 {
			s.do("deliver", 0)
			quiet = false
		}
		if quiet {
			return sent
		}
	}
	s.t.Fatal("no end")
	return nil
}

// is checks parts of the newest state of a member: pairs of position and text.
func (s *script) is(id uint64, pairs ...any) {
	s.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := s.states[id][pairs[i].(int)]; got != pairs[i+1].(string) {
			s.t.Errorf("member %d, part %d: %q, not %q", id, pairs[i], got, pairs[i+1])
		}
	}
}

// replay runs what the script did in a session of its own, for both kinds of
// answers, and compares them with the script's.
func (s *script) replay() {
	s.t.Helper()
	lines := strings.Join(s.lines, "\n")
	var out strings.Builder
	if err := serve(strings.NewReader(lines+"\n[\"end\"]\n\n"+lines+"\n[\"end\", \"full\"]\n"), &out); err != nil {
		s.t.Fatal(err)
	}
	sums, full, _ := strings.Cut(out.String(), "\n")
	var answers []string
	if err := json.Unmarshal([]byte(full), &answers); err != nil {
		s.t.Fatal(err)
	}
	if strings.Join(answers, "") != string(s.session.answers) || len(answers) != len(s.session.ends) {
		s.t.Error("other answers the second time")
	}
	want := ""
	for _, a := range answers {
		want += fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(a)))
	}
	if sums != want {
		s.t.Error("the sums are not those of the answers")
	}
}

func TestElectionAndReplication(t *testing.T) {
	s := begin(t, three("")...)
	s.expect(ok, "tick", 1)
	s.is(1, 0, "1", atTerm, "1", 5, "1", atTimeout, "16", atCommitted, "5", atApplied, "5", atFirst, "6", atLast, "5",
		atConf, "1,2,3////0", atVotes, "-", atStorage, "1,0,5,5,1,6,5,1,5")
	s.expect(ok, "campaign", 1)
	s.expect(nothing, "persist", 1)
	if _, ready, sent, _ := s.do("ready", 1); ready != "soft=0,1 hard=2,1,5 sync " || sent != "" {
		t.Errorf("ready %q, sent %q", ready, sent)
	}
	s.expect(nothing, "apply", 1)
	want := "5,1,2,2,1,5,0,0,0,0,0,[],(),{} 5,1,3,2,1,5,0,0,0,0,0,[],(),{} "
	if _, _, sent, _ := s.do("persist", 1); sent != want {
		t.Errorf("sent %q", sent)
	}
	s.expect(ok, "apply", 1)
	s.is(1, atVotes, "1:1", atStorage, "2,1,5,5,1,6,5,1,5")
	s.settle()
	s.is(1, atRole, "2", atCommitted, "6", atProgress, "1,6,7,0,1,0,1,0,0,0;2,6,7,6,1,0,1,0,0,0;3,6,7,6,1,0,1,0,0,0")
	s.replay()
}

func TestReads(t *testing.T) {
	s := begin(t, three("")...)
	s.expect(ok, "campaign", 1)
	s.settle()
	s.expect(ok, "read", 1, "é")
	s.is(1, atReads, "0:6.c3a9:-:-:1.1")
	sent := s.settle()
	for _, want := range []string{"8,1,2,2,0,0,6,0,0,0,1,[],(),{}", "9,3,1,2,0,0,0,0,0,0,1,[],(),{}"} {
		if !slices.Contains(sent, want) {
			t.Errorf("%s was not sent: %v", want, sent)
		}
	}
	s.is(1, atReads, "1:-:-:-:1.1,2.1,3.1")
	s.expect(ok, "read", 2, "x")
	if sent := s.settle(); !slices.Contains(sent, "15,2,1,0,0,0,0,0,0,0,0,[0/0/0/78],(),{}") ||
		!slices.Contains(sent, "16,1,2,2,0,6,0,0,0,0,0,[0/0/0/78],(),{}") {
		t.Error(sent)
	}
	s.replay()
}

func TestCrashAndRestart(t *testing.T) {
	s := begin(t, three("")...)
	s.expect(ok, "campaign", 1)
	s.settle()
	s.expect(ok, "propose", 1, "a", "")
	s.settle()
	s.is(2, atCommitted, "8", atApplied, "8", atStorage, "2,1,8,5,1,6,8,2,8")
	s.expect(nothing, "restart", 2, 0)
	for mode, applied := range []string{"5", "8"} {
		s.states[2] = nil
		if result, _, _, state := s.do("crash", 2); result != ok || state != "" {
			t.Error(result, state)
		}
		s.expect(down, "tick", 2)
		s.expect(ok, "propose", 1, "b")
		s.expect(ok, "ready", 1)
		s.expect(ok, "persist", 1)
		for len(s.session.cluster.network) > 1 {
			s.expect(ok, "drop", 1)
		}
		s.expect(lost, "deliver", 0)
		s.expect(nothing, "deliver", 0)
		s.expect(ok, "restart", 2, mode)
		if mode == 0 {
			s.is(2, atTerm, "2", atLead, "0", atCommitted, "8", atApplied, applied, atStorage, "2,1,8,5,1,6,8,2,"+applied)
		} else {
			s.is(2, atApplied, s.states[2][atCommitted])
		}
		s.expect(ok, "apply", 1)
		for range 2 {
			s.expect(ok, "tick", 1)
			s.settle()
		}
	}
	s.is(2, atApplied, "10", atStorage, "2,1,10,5,1,6,10,2,10")
	s.replay()
}

func TestSnapshotForALaggingMember(t *testing.T) {
	s := begin(t, three("")...)
	s.expect(ok, "campaign", 1)
	s.settle()
	s.expect(ok, "crash", 3)
	s.expect(ok, "propose", 1, "a", "b")
	s.settle()
	s.expect(nothing, "compact", 1, 7)
	s.expect(ok, "snapshot", 1)
	s.expect(nothing, "snapshot", 1)
	s.expect(nothing, "compact", 1, 9)
	s.expect(ok, "compact", 1, 7)
	s.is(1, atFirst, "8", atLast, "8", atStorage, "2,1,8,8,2,8,8,2,8")
	s.expect(ok, "restart", 3, 1)
	s.expect(ok, "tick", 1)
	sent := s.settle()
	if !slices.Contains(sent, "7,1,3,2,0,0,0,0,0,0,0,[],(8,2,1,2,3////0),{}") {
		t.Error(sent)
	}
	s.is(3, atCommitted, "8", atApplied, "8", atFirst, "9", atStorage, "2,1,8,8,2,9,8,2,8")
	s.replay()
}

func TestJointChange(t *testing.T) {
	s := begin(t, append(three(""), `"id": 4`)...)
	s.expect(ok, "campaign", 1)
	s.settle()
	s.expect(ok, "change", 1, "v4 l3", 2, false)
	if sent := strings.Join(s.settle(), " "); !strings.Contains(sent, "[2/7/2/2:v4 l3]") {
		t.Error(sent)
	}
	s.is(1, atConf, "1,2,4/1,2,3//3/0")
	s.expect(ok, "snapshot", 1)
	s.expect(ok, "change", 1, "", 0, false)
	if sent := strings.Join(s.settle(), " "); !strings.Contains(sent, "[2/8/2/0:]") {
		t.Error(sent)
	}
	// The new member refused the snapshot of index 5, which does not have it.
	s.is(1, atProgress, "1,8,9,0,1,0,1,0,0,0;2,8,9,8,1,0,1,0,0,0;3,8,9,8,1,0,1,0,0,0;4,0,6,5,2,5,1,0,0,0")
	s.expect(ok, "report", 1, 4, false)
	s.expect(ok, "tick", 1)
	s.settle()
	for id := range uint64(4) {
		s.is(id+1, atConf, "1,2,4//3//0", atApplied, "8")
	}
	// Back to the snapshot, whose configuration is the joint one, and on.
	s.expect(ok, "crash", 1)
	s.expect(ok, "restart", 1, 0)
	s.is(1, atConf, "1,2,4/1,2,3//3/0", atApplied, "7", atCommitted, "8")
	s.settle()
	s.is(1, atConf, "1,2,4//3//0", atApplied, "8")
	s.expect(ok, "campaign", 2)
	s.settle()
	s.expect(ok, "change", 2, "r3", 0, true)
	if sent := strings.Join(s.settle(), " "); !strings.Contains(sent, "[3/10/1/0:r3]") {
		t.Error(sent)
	}
	s.is(2, atConf, "1,2,4////0")
	s.replay()
}

func TestAsynchronousWrites(t *testing.T) {
	s := begin(t, three(`, "async": true`)...)
	s.expect(ok, "campaign", 1)
	_, ready, sent, _ := s.do("ready", 1)
	if ready != "soft=0,1 hard=2,1,5 sync " || len(s.session.cluster.network) != 0 || sent != ""+
		"5,1,2,2,1,5,0,0,0,0,0,[],(),{} 5,1,3,2,1,5,0,0,0,0,0,[],(),{} "+
		"19,1,18446744073709551615,2,0,0,5,1,0,0,0,[],(),{6,1,1,2,0,0,0,0,0,0,0,[],(),{} } " {
		t.Errorf("ready %q, sent %q", ready, sent)
	}
	if _, _, sent, _ := s.do("persist", 1); sent != ""+
		"5,1,2,2,1,5,0,0,0,0,0,[],(),{} 5,1,3,2,1,5,0,0,0,0,0,[],(),{} " || len(s.session.cluster.network) != 2 {
		t.Errorf("sent %q", sent)
	}
	s.is(1, atVotes, "1:1")
	s.settle()
	// Two appends under way, the first one acknowledged before the second.
	s.expect(ok, "propose", 1, "a")
	s.expect(ok, "ready", 1)
	s.expect(ok, "propose", 1, "b")
	s.expect(ok, "ready", 1)
	s.expect(nothing, "ready", 1)
	s.is(1, atCommitted, "6", atStable, "6", atWriting, "8", atLast, "8")
	s.expect(ok, "persist", 1)
	s.is(1, atStable, "7", atWriting, "8")
	s.expect(ok, "persist", 1)
	s.expect(nothing, "persist", 1)
	s.is(1, atStable, "8")
	s.settle()
	s.is(3, atApplied, "8", atStorage, "2,1,8,5,1,6,8,2,8")
	s.replay()
}

func TestPanicEndsAScenario(t *testing.T) {
	s := begin(t, three("")...)
	s.expect(dropped, "propose", 1, "a")
	s.expect(ok, "campaign", 1)
	s.settle()
	s.expect("panic", "propose", 1)
	if result, _, _, _ := s.do("tick", 1); result != "" {
		t.Error("a step after the panic")
	}
	s.replay()
}

func TestRefused(t *testing.T) {
	const head = `{"scenario": 1, "seed": 1, "nodes": [{"id": 1, "voters": [1], "start": 1}]}` + "\n"
	for _, input := range []string{
		`{"scenario": 2, "nodes": []}`,
		`{"scenario": 1, "nodes": [{"id": 1, "lease_reads": true}]}`,
		`{"scenario": 1, "nodes": [{"id": 1, "max_inflight_bytes": 5}]}`,
		`{"scenario": 1, "nodes": [{"id": 1, "pre-vote": true}]}`,
		`{"scenario": 1, "nodes": [{"id": 1}, {"id": 1}]}`,
		`["tick", 1]`,
		head,
		head + head,
		head + `["tick"]`,
		head + `["tick", 1, 1]`,
		head + `["tick", "1"]`,
		head + `["tick", -1]`,
		head + `["tick", 18446744073709551616]`,
		head + `["tick", 1] 1`,
		head + `["tick" 1]`,
		head + `["tock", 1]`,
		head + `["propose", 1, "a]`,
		head + `["change", 1, "x1", 0, false]`,
		head + `["change", 1, "v1 v2", 0, true]`,
		head + `["change", 1, "v1", 3, false]`,
		head + `["change", 1, "v1", 1, 2]`,
	} {
		if err := serve(strings.NewReader(input+"\n"), &strings.Builder{}); err == nil {
			t.Errorf("not refused: %s", input)
		} else {
			t.Log(err)
		}
	}
}

func TestStepsAreRead(t *testing.T) {
	var s step
	if err := s.parse([]byte(` ["propose",18446744073709551615 , "", "\u00e9\"]\\", "é]" ] `)); err != nil {
		t.Fatal(err)
	}
	if s.number(0) != 1<<64-1 || s.text(1) != "" || s.text(2) != `é"]\` || s.text(3) != "é]" || len(s.args) != 4 {
		t.Error(s)
	}
}

// walk runs a random scenario of a number of steps that mostly have something
// to do.
func walk(t testing.TB, seed int64, steps int) *script {
	t.Helper()
	r := rand.New(rand.NewSource(seed))
	chance := func(percent int) bool { return r.Intn(100) < percent }
	var nodes []string
	changes, async, size := chance(40), chance(50), 3+r.Intn(3)
	for id := 1; id <= size; id++ {
		n := fmt.Sprintf(`"id": %d, "voters": [1, 2, 3], "start": 5, "async": %v, "pre_vote": %v, "check_quorum": %v`,
			id, async, seed%2 == 0, seed%3 == 0)
		if chance(30) {
			n += `, "one_entry_applies": true`
		}
		if chance(30) {
			n += `, "one_entry_messages": true, "max_inflight": 2`
			if !changes {
				n += `, "max_inflight_bytes": 9, "max_uncommitted": 20`
			}
		}
		nodes = append(nodes, n)
	}
	s := begin(t, nodes...)
	s.do("campaign", 1)
	for i := 1; i < steps && !s.session.over; i++ {
		c := s.session.cluster
		id := uint64(1 + r.Intn(size))
		m := c.members[id]
		switch {
		case m.node == nil:
			if chance(40) {
				s.do("restart", id, r.Intn(2))
			}
		case chance(12) && (m.inner.lead() != 0 || chance(5)):
			s.do("propose", id, fmt.Sprint("data ", i), "")
		case chance(8):
			s.do("tick", id)
		case chance(3):
			s.do("read", id, fmt.Sprint(i))
		case chance(2) && changes:
			s.do("change", id, []string{"v4", "v4 r3", "l2", "v3 v2", "", "r1", "l5 v1"}[r.Intn(7)], r.Intn(3), false)
		case chance(2):
			s.do("snapshot", id)
			s.do("compact", id, m.storage.snapIndex)
			i++
		case chance(1):
			s.do("crash", id)
		case chance(1):
			s.do("campaign", id)
		case chance(1):
			s.do("transfer", id, 1+r.Intn(size))
		case len(c.network) > 0 && chance(60):
			k := 0
			if chance(10) {
				k = r.Intn(len(c.network))
			}
			s.do([]any{"deliver", "deliver", "deliver", "deliver", "deliver", "duplicate", "drop"}[r.Intn(7)], k)
		case len(m.appends) > 0 || m.ready != nil && !m.persisted:
			s.do("persist", id)
		case len(m.applies) > 0 || m.persisted:
			s.do("apply", id)
		case m.node.HasReady() && m.ready == nil:
			s.do("ready", id)
		case len(c.network) > 0:
			s.do("deliver", 0)
		default:
			s.do("tick", id)
		}
	}
	return s
}

func TestRandomScenariosRunTheSameTwice(t *testing.T) {
	results := map[string]int{}
	for seed := range int64(60) {
		s := walk(t, seed, 400)
		begin := 0
		for _, end := range s.session.ends {
			result, _, _ := strings.Cut(string(s.session.answers[begin:end]), "|")
			results[result]++
			begin = end
		}
		s.replay()
	}
	t.Log(results)
}

// BenchmarkSession runs a scenario of 200 steps; time is per scenario.
func BenchmarkSession(b *testing.B) {
	for _, seed := range []int64{4, 5} {
		b.Run(fmt.Sprint(seed), func(b *testing.B) {
			s := walk(b, seed, 200)
			input := strings.Join(s.lines, "\n") + "\n[\"end\"]\n"
			for b.Loop() {
				must(serve(strings.NewReader(input), &strings.Builder{}))
			}
			b.ReportMetric(float64(b.N*len(s.session.ends))/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
