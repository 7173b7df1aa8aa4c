//go:build unix

package main

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminalSignals are those that a terminal sends to every process of the group
// that is in its foreground.
var terminalSignals = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH}

// forwarded are the signals that a command is to have that came here.
func forwarded() []os.Signal {
	return append([]os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGCONT}, terminalSignals...)
}

// hadByGroup says whether a command has got a signal itself, as its terminal's.
// A second SIGINT makes many programs stop at once, where one is a request.
func hadByGroup(s os.Signal) bool {
	if !slices.Contains(terminalSignals, s) {
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil { // there is none
		return false
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// endSignal is the signal that ended a process.
func endSignal(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return int(status.Signal())
	}
	return 0
}
