//go:build unix

package audit

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRecord has 64 callers record at once, on the file system of TMPDIR.
func BenchmarkRecord(b *testing.B) {
	for _, mode := range []Mode{SyncNone, SyncBatch, SyncRecord} {
		b.Run(string(mode), func(b *testing.B) {
			cfg := config(b)
			cfg.Sync, cfg.Now = mode, time.Now
			disk := &faultyDisk{}
			l := mustOpenOn(b, cfg, disk)
			in, result := anIntent(), aResult("x")
			var failed atomic.Bool
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			before := cpu(b)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					p, err := l.Begin(b.Context(), in)
					if err != nil || p.End(b.Context(), result) != nil {
						failed.Store(true)
					}
				}
			})
			records := float64(2 * b.N)
			b.ReportMetric(float64(cpu(b)-before)/records, "cpu-ns/record")
			b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(records/float64(disk.writes.Load()), "records/write")
			if failed.Load() {
				b.Error("a record failed")
			}
		})
	}
}

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
