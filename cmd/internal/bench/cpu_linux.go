package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the CPU time that a process has used, all its threads together,
// those that ended included, to the nanosecond: clock_getcpuclockid(3). The
// counters in /proc/PID/stat are the same sum in ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED of the kernel's posix-timers_types.h
	var now unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|sched, &now); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(now.Nano()), nil
}

// footprint is what a process holds.
type footprint struct {
	rss     int64 // bytes in memory
	fds     int   // open file descriptors
	threads int
}

func footprintOf(pid int) (footprint, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return footprint{}, err
	}
	f := footprint{}
	if f.fds, err = openFiles(dir + "/fd"); err != nil {
		return footprint{}, err
	}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, _ := strconv.ParseInt(string(fields[0]), 10, 64) // the two lines asked for are numbers
		switch string(name) {
		case "VmRSS":
			f.rss = n << 10 // the kernel says kB and means KiB
		case "Threads":
			f.threads = int(n)
		}
	}
	return f, nil
}

// openFiles counts the descriptors of a process. The server lets nobody but root
// list them; since Linux 6.2 their number is the size of the list.
func openFiles(dir string) (int, error) {
	info, err := os.Stat(dir)
	if err == nil && info.Size() > 0 {
		return int(info.Size()), nil
	}
	fds, err := os.ReadDir(dir)
	return len(fds), err
}

// processor names the CPU.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range bytes.Lines(text) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return "unknown CPU"
}

// kernel is the name and release of the operating system.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "Linux"
	}
	return "Linux " + string(bytes.TrimSpace(text))
}
