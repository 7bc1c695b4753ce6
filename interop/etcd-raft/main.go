// Command etcd-raft is the harness of interop/protocol.md around
// go.etcd.io/raft/v3: it reads scenarios on standard input, runs them and
// answers with what the library did.
//
// One file for each concern:
//
//	main.go      the session: lines in, answers out
//	scenario.go  the lines of a scenario: the head and the steps
//	cluster.go   the members, the network between them and what each step does
//	storage.go   what a member has on its disk, and the configurations of its past
//	lines.go     the canonical text of messages, Readys and states
//	outside.go   members that another harness hosts, and their messages
//	private.go   the unexported fields of the library
//
// A scenario that breaks the protocol, or a configuration that the library
// refuses, ends the program with status 2 and a message on standard error.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime/debug"
	"strconv"

	"go.etcd.io/raft/v3"

	"raftx/interop/etcd-raft/silent"
)

// maxLine bounds a line of input.
const maxLine = 1 << 26

func main() {
	// Everything lives for one scenario: a heap of a few megabytes. Collecting
	// less often is worth more than the memory.
	debug.SetGCPercent(800)
	raft.SetLogger(silent.Logger{})
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "etcd-raft:", err)
		os.Exit(2)
	}
}

// serve answers scenario after scenario until the input ends.
func serve(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	writer := bufio.NewWriterSize(out, 1<<16)
	var s session
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		answered := len(s.ends)
		ended, err := s.line(line)
		switch {
		case err != nil:
		case s.interactive:
			// The end of an interactive scenario has no answer: all of them are out.
			if !ended && len(s.ends) > answered {
				err = errors.Join(s.answerStep(writer, s.answers), writer.Flush())
				s.answers, s.ends = s.answers[:0], s.ends[:0]
			}
		case ended:
			s.answer(writer)
			err = writer.Flush()
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if s.cluster != nil {
		return fmt.Errorf("the input ends in the middle of a scenario")
	}
	return nil
}

// session is one scenario on its way: its cluster, and the answers so far.
type session struct {
	cluster *cluster // nil between scenarios
	step    step
	over    bool   // after a panic of the library
	answers []byte // one after the other
	ends    []int  // where each of them ends
	full    bool   // the scenario asked for the full answers

	interactive bool // every step is answered at once
}

// line takes the next line of input. It returns whether the scenario ended.
func (s *session) line(line []byte) (ended bool, err error) {
	if line[0] == '{' {
		if s.cluster != nil {
			return false, fmt.Errorf("a head in the middle of a scenario")
		}
		head, err := parseHead(line)
		if err != nil {
			return false, err
		}
		if s.cluster, err = newCluster(head); err != nil {
			return false, err
		}
		s.answers, s.ends, s.over, s.interactive = s.answers[:0], s.ends[:0], false, head.interactive
		return false, nil
	}
	if s.cluster == nil {
		return false, fmt.Errorf("a step outside of a scenario")
	}
	if err := s.step.parse(line); err != nil {
		return false, err
	}
	if s.step.verb == verbEnd {
		s.cluster, s.full = nil, len(s.step.args) > 0 && s.step.text(0) == "full"
		return true, nil
	}
	if s.over {
		return false, nil
	}
	s.answers, s.over, err = s.cluster.run(&s.step, s.answers)
	s.ends = append(s.ends, len(s.answers))
	return false, err
}

// answer writes the line that ends a scenario.
func (s *session) answer(out *bufio.Writer) {
	begin := 0
	if s.full {
		// The answers are plain ASCII without quotes and backslashes.
		out.WriteByte('[')
		for i, end := range s.ends {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteByte('"')
			out.Write(s.answers[begin:end])
			out.WriteByte('"')
			begin = end
		}
		out.WriteByte(']')
	} else {
		var digits [16]byte
		for _, end := range s.ends {
			sum := crc32.ChecksumIEEE(s.answers[begin:end])
			// A one ahead of the eight digits keeps their leading zeros.
			text := strconv.AppendUint(digits[:0], 1<<32|uint64(sum), 16)
			out.Write(text[1:])
			begin = end
		}
	}
	out.WriteByte('\n')
}
