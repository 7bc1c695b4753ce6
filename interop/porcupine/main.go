// Judges histories of a key-value store with porcupine: one JSON line in, one line out, until the input ends.
//
// In: {"seconds": 60, "operations": [{"key": "k1", "kind": "cas", "value": 3, "new": 4, "succeeded": true,
// "invoked": 12, "returned": 40}, ...]}. Times are nanoseconds; without "returned" the outcome is not known. A cas
// without "succeeded" may have been either. 0 is what each key has at first. Out: "ok", "illegal" or "unknown", or
// "error: " and why the line could not be read.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	Key       string `json:"key"`
	Kind      string `json:"kind"`
	Value     int64  `json:"value"`
	New       int64  `json:"new"`
	Succeeded *bool  `json:"succeeded"`
	Invoked   int64  `json:"invoked"`
	Returned  *int64 `json:"returned"`
}

type question struct {
	Seconds    float64     `json:"seconds"`
	Operations []operation `json:"operations"`
}

var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		for _, each := range history {
			key := each.Input.(operation).Key
			keys[key] = append(keys[key], each)
		}
		var parts [][]porcupine.Operation
		for _, part := range keys {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() interface{} { return int64(0) },
	Step: func(state, input, _ interface{}) (bool, interface{}) {
		has, op := state.(int64), input.(operation)
		switch op.Kind {
		case "read":
			return has == op.Value, has
		case "write":
			return true, op.Value
		}
		equal := has == op.Value
		if op.Succeeded != nil && *op.Succeeded != equal {
			return false, has
		}
		if equal {
			return true, op.New
		}
		return true, has
	},
}

func judge(line []byte) string {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return "error: " + err.Error()
	}
	var history []porcupine.Operation
	for number, op := range asked.Operations {
		if op.Kind != "read" && op.Kind != "write" && op.Kind != "cas" {
			return "error: no kind of operation: " + op.Kind
		}
		// What never returned may have happened at any time; after everything else is as good as never.
		returned := int64(math.MaxInt64)
		if op.Returned != nil {
			returned = *op.Returned
		} else if op.Kind == "read" {
			continue
		}
		history = append(history, porcupine.Operation{ClientId: number, Input: op, Call: op.Invoked, Return: returned})
	}
	switch porcupine.CheckOperationsTimeout(model, history, time.Duration(asked.Seconds*float64(time.Second))) {
	case porcupine.Ok:
		return "ok"
	case porcupine.Illegal:
		return "illegal"
	}
	return "unknown"
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			fmt.Println(judge(line))
		}
		if err != nil {
			return
		}
	}
}
