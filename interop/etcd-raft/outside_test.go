// The neutral form of messages there and back, and members of one cluster that
// live in several sessions.

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// forms are messages of every kind that travels, one a line: raftx's own tests
// read them too.
//
//go:embed testdata/messages.jsonl
var forms string

func TestNeutralFormThereAndBack(t *testing.T) {
	missing := slices.Sorted(maps.Keys(uses))
	for form := range strings.Lines(forms) {
		form = strings.TrimSpace(form)
		m, err := parseOutside([]byte(form))
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		data, err := proto.Marshal(m)
		must(err)
		again := &pb.Message{}
		must(proto.Unmarshal(data, again))
		text, err := json.Marshal(neutral(again))
		must(err)
		if string(text) != form {
			t.Errorf("%s became %s", form, text)
		}
		missing = slices.DeleteFunc(missing, func(kind pb.MessageType) bool { return kind == m.GetType() })
	}
	if len(missing) > 0 {
		t.Errorf("no messages of the kinds %v", missing)
	}
}

func TestNeutralFormMeansWhatTheLibraryMeans(t *testing.T) {
	for _, c := range []struct {
		form string
		want string // canonical text
	}{
		{`{"type":5,"from":2,"to":1,"term":4,"index":9,"context":1}`, "5,2,1,4,0,9,0,0,0,0,1,[],(),{} "},
		{`{"type":4,"from":2,"to":1,"term":4,"log_term":2,"index":9,"reject":true,"hint":5}`, "4,2,1,4,2,9,0,0,1,5,0,[],(),{} "},
		{`{"type":3,"from":2,"to":1,"term":4,"entries":[{"term":4,"index":1,"kind":1,"data":"0:l3"}]}`,
			"3,2,1,4,0,0,0,0,0,0,0,[4/1/1/0:l3],(),{} "},
	} {
		m, err := parseOutside([]byte(c.form))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(addMessage(nil, m)); got != c.want {
			t.Errorf("%s is %q, not %q", c.form, got, c.want)
		}
	}
	m, _ := parseOutside([]byte(`{"type":3,"from":2,"to":1,"term":4,"entries":[{"term":4,"index":1,"kind":2,"data":"0:"}]}`))
	if e := m.GetEntries()[0]; len(e.GetData()) != 0 {
		t.Errorf("leaving a joint configuration has data: %x", e.GetData())
	}
}

func TestNeutralFormRefused(t *testing.T) {
	for _, form := range []string{
		`{`,
		`[]`,
		`{"to":1}`,
		`{"type":19,"to":1}`,
		`{"type":10,"to":1}`,
		`{"type":4294967299,"to":1}`,
		`{"type":3,"to":-1}`,
		`{"type":3,"to":1,"priority":1}`,
		`{"type":3,"to":1,"vote":1}`,
		`{"type":3,"to":1,"hint":1}`,
		`{"type":3,"to":1,"context":1}`,
		`{"type":3,"to":1,"reject":true}`,
		`{"type":5,"to":1,"term":1,"context":2}`,
		`{"type":7,"to":1,"term":1}`,
		`{"type":3,"to":1,"snapshot":{"index":1,"term":1}}`,
		`{"type":7,"to":1,"snapshot":{"index":1,"term":1,"data":"x"}}`,
		`{"type":3,"to":1,"entries":[{"data":"6"}]}`,
		`{"type":3,"to":1,"entries":[{"kind":3}]}`,
		`{"type":3,"to":1,"entries":[{"kind":2,"data":"v1"}]}`,
		`{"type":3,"to":1,"entries":[{"kind":2,"data":"0:x1"}]}`,
		`{"type":3,"to":1,"entries":[{"kind":2,"data":"3:v1"}]}`,
		`{"type":3,"to":1,"entries":[{"kind":1,"data":"0:"}]}`,
	} {
		if m, err := parseOutside([]byte(form)); err == nil {
			t.Errorf("not refused: %s: %v", form, m)
		}
	}
}

// interactive runs an interactive session and returns its lines.
func interactive(t *testing.T, lines ...string) [][]json.RawMessage {
	t.Helper()
	var out strings.Builder
	if err := serve(strings.NewReader(strings.Join(lines, "\n")+"\n"), &out); err != nil {
		t.Fatal(err)
	}
	var answers [][]json.RawMessage
	for line := range strings.Lines(out.String()) {
		var answer []json.RawMessage
		must(json.Unmarshal([]byte(line), &answer))
		answers = append(answers, answer)
	}
	return answers
}

func TestInteractiveSession(t *testing.T) {
	head := func(more string) string {
		return `{"scenario": 1, "seed": 17, "interactive": true` + more + `, "nodes": [{` + strings.Join(three(""), "}, {") + `}]}`
	}
	answers := interactive(t,
		head(`, "hosted": [1]`), `["campaign", 1]`, `["ready", 1]`, `["persist", 1]`, `["tick", 2]`,
		`["give", 2, {"type": 3, "to": 2}]`, `["give", 2, {"type": 6, "from": 2, "to": 1, "term": 2}]`, `["end"]`,
		// Everybody lives here: nothing leaves.
		head(""), `["campaign", 1]`, `["ready", 1]`, `["persist", 1]`, `["deliver", 0]`, `["end", "full"]`,
		// The end of the library is told with its reason, and nothing comes after it.
		head(`, "hosted": [1]`), `["campaign", 1]`, `["ready", 1]`, `["persist", 1]`, `["apply", 1]`,
		`["give", 2, {"type": 6, "from": 2, "to": 1, "term": 2}]`, `["propose", 1]`, `["tick", 1]`, `["end"]`,
		head(`, "hosted": [1]`), `["crash", 1]`, `["give", 2, {"type": 8, "from": 2, "to": 1, "term": 2}]`, `["end"]`)
	if len(answers) != 6+4+6+2 {
		t.Fatalf("%d answers", len(answers))
	}
	for i, want := range map[int]string{
		2: `[{"type":5,"from":1,"to":2,"term":2,"log_term":1,"index":5},{"type":5,"from":1,"to":3,"term":2,"log_term":1,"index":5}]`,
		3: `[]`, 5: `[]`, 8: `[]`, 14: `[]`,
	} {
		if len(answers[i]) != 2 || string(answers[i][1]) != want {
			t.Errorf("answer %d: %s", i, answers[i])
		}
	}
	for i, want := range map[int]string{3: "down|||", 4: "lost|||", 15: "panic|||", 17: "lost|||"} {
		if string(answers[i][0]) != `"`+want+`"` {
			t.Errorf("answer %d: %s", i, answers[i])
		}
	}
	if last := answers[15]; len(last) != 3 || !strings.Contains(string(last[2]), "empty MsgProp") {
		t.Errorf("no reason: %s", last)
	}
}

func TestHostedHeadRefused(t *testing.T) {
	head := `{"scenario": 1, "hosted": [1], "nodes": [{"id": 1, "voters": [1], "start": 1}]}` + "\n"
	if err := serve(strings.NewReader(head+`["end"]`+"\n"), &strings.Builder{}); err == nil {
		t.Error("not refused")
	}
	head = strings.Replace(head, `"hosted"`, `"interactive": true, "hosted"`, 1)
	for _, line := range []string{`["give", 2]`, `["give", 2, 3]`, `["give", 2, {"type": 3, "to": 1]`, `["give", 2, {"type": 1, "to": 1}]`} {
		if err := serve(strings.NewReader(head+line+"\n"), &strings.Builder{}); err == nil {
			t.Errorf("not refused: %s", line)
		}
	}
}

// TestMembersInSeveralSessions runs a scenario twice: all members in one
// session, and each in a session of its own, with the messages carried between
// them in the neutral form. Every state must be the same.
func TestMembersInSeveralSessions(t *testing.T) {
	nodes := three(`, "pre_vote": true`)
	nodes[1] += `, "async": true`
	whole := begin(t, nodes...)
	parts := map[uint64]*cluster{}
	for id := range uint64(3) {
		text := fmt.Sprintf(`{"scenario": 1, "seed": 17, "interactive": true, "hosted": [%d], "nodes": [{%s}]}`,
			id+1, strings.Join(nodes, "}, {"))
		h, err := parseHead([]byte(text))
		must(err)
		c, err := newCluster(h)
		must(err)
		parts[id+1] = c
	}
	var network []string // of the parts
	var carried []pb.MessageType
	do := func(words ...any) string {
		t.Helper()
		line, err := json.Marshal(words)
		must(err)
		var id uint64
		if words[0] == "deliver" {
			var to struct{ Type, To uint64 }
			must(json.Unmarshal([]byte(network[0]), &to))
			id, line = to.To, []byte(`["give", 0, `+network[0]+`]`)
			network = network[1:]
			carried = append(carried, pb.MessageType(to.Type))
		} else {
			fmt.Sscan(fmt.Sprint(words[1]), &id)
		}
		var s step
		must(s.parse(line))
		answer, _, err := parts[id].run(&s, nil)
		must(err)
		for _, m := range parts[id].left {
			text, err := json.Marshal(m)
			must(err)
			network = append(network, string(text))
		}
		result, ready, sent, state := whole.do(words...)
		if want := strings.Join([]string{result, ready, sent, state}, "|"); string(answer) != want {
			t.Fatalf("%v:\n%s\n%s", words, answer, want)
		}
		if len(network) != len(whole.session.cluster.network) {
			t.Fatalf("%v: %d messages, not %d", words, len(network), len(whole.session.cluster.network))
		}
		return result
	}
	settle := func() {
		for range 1000 {
			quiet := true
			for id := range uint64(3) {
				for _, verb := range []string{"ready", "persist", "apply"} {
					quiet = do(verb, id+1) != ok && quiet
				}
			}
			for len(network) > 0 {
				do("deliver", 0)
				quiet = false
			}
			if quiet {
				return
			}
		}
		t.Fatal("no end")
	}
	do("campaign", 1)
	settle()
	do("propose", 2, "a", "")
	do("read", 3, "r")
	settle()
	do("change", 1, "r3", 0, true)
	settle()
	do("propose", 1, "b")
	settle()
	do("snapshot", 1)
	do("compact", 1, 10)
	do("change", 2, "v3", 2, false)
	settle()
	do("change", 1, "", 0, false)
	settle()
	do("snapshot", 1)
	do("report", 1, 3, false)
	do("tick", 1)
	settle()
	do("transfer", 3, 2)
	settle()
	for id := range uint64(3) {
		whole.is(id+1, atConf, "1,2,3////0", atLead, "2", atApplied, whole.states[2][atLast])
	}
	slices.Sort(carried)
	if kinds := slices.Compact(carried); len(kinds) != len(uses) {
		t.Errorf("only messages of the kinds %v", kinds)
	}
}
