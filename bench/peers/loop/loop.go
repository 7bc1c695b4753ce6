// Package loop puts the same closed loop on each peer that is written in Go, and speaks with the program that
// measures: one JSON object a line on standard input and output. It knows no Raft library.
package loop

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"sync"
	"time"
)

// Peer is what is measured: a member, or a client of members.
type Peer interface {
	// Leads says whether this member leads now.
	Leads() bool
	// Propose returns when the entry is applied, or why it is not.
	Propose(worker int, data []byte) error
}

type command struct {
	Do          string  `json:"do"`
	Outstanding int     `json:"outstanding"`
	Seconds     float64 `json:"seconds"`
	Bytes       int     `json:"bytes"`
}

type answer struct {
	Entries int     `json:"entries"`
	Failed  int     `json:"failed"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Why     string  `json:"why,omitempty"`
}

func say(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func load(peer Peer, asked command) answer {
	data := make([]byte, asked.Bytes)
	if _, err := rand.Read(data); err != nil {
		panic(err)
	}
	var (
		lock sync.Mutex
		wait sync.WaitGroup
		all  []float64
		out  answer
	)
	began := time.Now()
	end := began.Add(time.Duration(asked.Seconds * float64(time.Second)))
	for worker := 0; worker < asked.Outstanding; worker++ {
		wait.Add(1)
		go func(worker int) {
			defer wait.Done()
			took := make([]float64, 0, 4096)
			failed, why := 0, ""
			for {
				since := time.Now()
				if !since.Before(end) {
					break
				}
				if err := peer.Propose(worker, data); err != nil {
					failed, why = failed+1, err.Error()
					time.Sleep(time.Millisecond)
					continue
				}
				took = append(took, float64(time.Since(since).Nanoseconds())/1000)
			}
			lock.Lock()
			defer lock.Unlock()
			all = append(all, took...)
			out.Failed += failed
			if why != "" {
				out.Why = why
			}
		}(worker)
	}
	wait.Wait()
	out.Seconds = time.Since(began).Seconds()
	out.Entries = len(all)
	if len(all) > 0 {
		sort.Float64s(all)
		out.P50, out.P99 = all[len(all)/2], all[len(all)*99/100]
	}
	return out
}

// Serve takes commands until standard input ends.
func Serve(peer Peer) {
	say(map[string]bool{"ready": true})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked command
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		switch asked.Do {
		case "role":
			say(map[string]bool{"leads": peer.Leads()})
		case "load":
			say(load(peer, asked))
		default:
			os.Exit(0)
		}
	}
}
