// Package silent has a logger that says nothing. What the library would end
// the program with is a panic.
package silent

import "fmt"

// Logger is a raft.Logger.
type Logger struct{}

func (Logger) Debug(...any)                   {}
func (Logger) Debugf(string, ...any)          {}
func (Logger) Error(...any)                   {}
func (Logger) Errorf(string, ...any)          {}
func (Logger) Info(...any)                    {}
func (Logger) Infof(string, ...any)           {}
func (Logger) Warning(...any)                 {}
func (Logger) Warningf(string, ...any)        {}
func (Logger) Fatal(v ...any)                 { panic(fmt.Sprint(v...)) }
func (Logger) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (Logger) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (Logger) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
