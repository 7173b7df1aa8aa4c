//go:build !unix

package main

import "os"

// forwarded are the signals that must not end this process before its command,
// which has them too.
func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

// hadByGroup is true: what there is of signals comes from the console, to both.
func hadByGroup(os.Signal) bool { return true }

// endSignal is 0: no signal ends a process here.
func endSignal(*os.ProcessState) int { return 0 }
