//go:build !linux

package main

import (
	"errors"
	"time"
)

// errLinux says why nothing is measured here: without cgo only Linux tells one
// process what another has used.
var errLinux = errors.New("the benchmark needs Linux, to read the server's CPU time from outside")

func cpuTime(int) (time.Duration, error) { return 0, errLinux }

// footprint is what a process holds.
type footprint struct {
	rss     int64
	fds     int
	threads int
}

func footprintOf(int) (footprint, error) { return footprint{}, errLinux }

func processor() string { return "unknown CPU" }

func kernel() string { return "unknown system" }
