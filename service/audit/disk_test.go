package audit

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// faultyDisk opens real files that fail when they are told to.
type faultyDisk struct {
	syncs, writes atomic.Int64

	mu       sync.Mutex
	room     int64 // bytes that can still be written, where limited
	limited  bool
	syncErr  error // of the syncs to come
	cutErr   error // of the truncations to come
	openErr  error
	gate     chan struct{} // writes wait for it to be closed
	arrivals chan struct{}
}

func mustOpenOn(t testing.TB, cfg Config, disk *faultyDisk) *Log {
	t.Helper()
	l, err := open(cfg, disk.open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (d *faultyDisk) open(path string, flag int) (file, error) {
	d.mu.Lock()
	err := d.openErr
	d.mu.Unlock()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f, err := openFile(path, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f.(plainFile), d}, nil
}

// set changes the faults.
func (d *faultyDisk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// hang has writes wait until the function returned is called.
func (d *faultyDisk) hang() (release func()) {
	gate := make(chan struct{})
	d.set(func() { d.gate, d.arrivals = gate, make(chan struct{}, 100) })
	return func() {
		d.set(func() { d.gate = nil })
		close(gate)
	}
}

func (d *faultyDisk) awaitHanging() { <-d.arrivals }

type faultyFile struct {
	plainFile
	disk *faultyDisk
}

func (f *faultyFile) Write(b []byte) (int, error) {
	d := f.disk
	d.mu.Lock()
	gate, arrivals := d.gate, d.arrivals
	d.mu.Unlock()
	if gate != nil {
		arrivals <- struct{}{}
		<-gate
	}
	d.writes.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.limited || int64(len(b)) <= d.room {
		d.room -= int64(len(b))
		return f.File.Write(b)
	}
	n, err := f.File.Write(b[:d.room])
	d.room = 0
	return n, errors.Join(err, &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC})
}

func (f *faultyFile) Sync() error {
	f.disk.syncs.Add(1)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.syncErr != nil {
		return f.disk.syncErr
	}
	return f.plainFile.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.cutErr != nil {
		return f.disk.cutErr
	}
	return f.File.Truncate(size)
}
