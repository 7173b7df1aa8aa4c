package audit

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// noContext is for the child, which has no test to take one from.
func noContext() context.Context { return context.Background() }

// TestKilledUnderLoadLosesNothing kills a process that writes, again and again,
// and looks for each record that it had confirmed.
func TestKilledUnderLoadLosesNothing(t *testing.T) {
	for _, mode := range []Mode{SyncNone, SyncBatch} {
		t.Run(string(mode), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "audit.jsonl")
			confirmed := map[uint64]string{}
			for round := range 5 {
				killChild(t, path, mode, 300+700*round, confirmed)
			}
			l := mustOpen(t, Config{Path: path})
			mint(t, l, "after")
			mustVerify(t, dir)
			for r, err := range Records(t.Context(), []string{dir}) {
				if err != nil {
					t.Fatal(err)
				}
				if digest, ok := confirmed[r.Intent]; ok && r.Type == typeResult {
					if r.Token != digest {
						t.Errorf("record %d is of another token", r.Seq)
					}
					delete(confirmed, r.Intent)
				}
			}
			if len(confirmed) > 0 {
				t.Errorf("%d confirmed tokens have no record", len(confirmed))
			}
		})
	}
}

// killChild has a child confirm some tokens and kills it while it goes on.
func killChild(t *testing.T, path string, mode Mode, tokens int, confirmed map[uint64]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childLog+"="+path, "AUDIT_TEST_SYNC="+string(mode))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // it is dead; half a line is not a confirmation
		}
		var seq uint64
		var digest string
		if _, err := fmt.Sscanf(line, "ok %d %s", &seq, &digest); err != nil {
			t.Fatalf("child says %q", line)
		}
		confirmed[seq] = digest
		if n == tokens {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("child ended with %v", err)
	}
}

func TestCrashLeftoversAreSetAside(t *testing.T) {
	whole := `{"seq":9,"prev":"` + strings.Repeat("0", 64) + `","time":"2026-11-23T12:00:00Z","type":"intent"}` + "\n"
	for name, torn := range map[string]string{
		"half a line":               `{"seq":4,"prev":"ab`,
		"a line without its end":    strings.TrimSuffix(whole, "\n"),
		"blocks that never came":    strings.Repeat("\x00", 9000),
		"a hole, then a line":       strings.Repeat("\x00", 4096) + "\"}\n" + whole,
		"a line that is half there": whole[:40] + strings.Repeat("\x00", 200) + "\n" + whole,
		"a hole of megabytes":       strings.Repeat("\x00", 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			l := mustOpen(t, cfg)
			mint(t, l, "x")
			_ = l.Close()
			before := read(t, cfg.Path)
			if err := os.WriteFile(cfg.Path, []byte(before+torn), 0o600); err != nil {
				t.Fatal(err)
			}
			l = mustOpen(t, cfg)
			mint(t, l, "y")
			r := mustVerify(t, filepath.Dir(cfg.Path))
			if r.Records != 7 || r.Recovered != 1 {
				t.Errorf("report %+v", r)
			}
			if read(t, cfg.Path+".torn-4") != torn {
				t.Error("leftover is not kept as it was")
			}
			want := fmt.Sprintf(`"type":"recovered","bytes":%d,"sha256":%q,"kept":"audit.jsonl.torn-4"}`, len(torn), hashOf([]byte(torn)).String())
			if text := read(t, cfg.Path); !strings.HasPrefix(text, before) || !strings.Contains(text, want) {
				t.Errorf("log has not %s:\n%s", want, text)
			}
		})
	}
}

func TestCrashInTheFirstLineGoesOnFromTheFileBefore(t *testing.T) {
	for name, left := range map[string]string{"empty": "", "half a line": `{"seq":4,`} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			l := mustOpen(t, cfg)
			mint(t, l, "x")
			_ = l.Close()
			if err := os.Rename(cfg.Path, rotatedName(cfg.Path, 1, 3)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cfg.Path, []byte(left), 0o600); err != nil {
				t.Fatal(err)
			}
			l = mustOpen(t, cfg)
			mint(t, l, "y")
			if r := mustVerify(t, filepath.Dir(cfg.Path)); r.First != 1 || r.Last < 6 {
				t.Errorf("report %+v", r)
			}
			if text := read(t, cfg.Path); !strings.Contains(text, `"from":"audit.1-3.jsonl"`) {
				t.Errorf("log does not say where it goes on from:\n%s", text)
			}
		})
	}
}

// TestChangedEndIsRefused: what no crash leaves is not cut away in silence.
func TestChangedEndIsRefused(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"last record":      func(s string) string { return strings.Replace(s, `"outcome":"minted"`, `"outcome":"mintex`, 1) },
		"record before it": func(s string) string { return strings.Replace(s, `"grant":"ci"`, `"grant":"cx"`, 1) },
		"a line more":      func(s string) string { return s + "hello\n" },
		"first record":     func(s string) string { return s[strings.Index(s, "\n")+1:] },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			l := mustOpen(t, cfg)
			mint(t, l, "x")
			_ = l.Close()
			text := change(read(t, cfg.Path))
			if err := os.WriteFile(cfg.Path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "audit verify") {
				t.Errorf("opened: %v", err)
			}
			if read(t, cfg.Path) != text {
				t.Error("a log that was refused was written to")
			}
		})
	}
}

func TestLongLogIsOpenedByItsEnd(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	for i := range 2000 {
		mint(t, l, fmt.Sprint(i))
	}
	_ = l.Close()
	if size := len(read(t, cfg.Path)); size < 2*firstWindow {
		t.Fatalf("log has only %d bytes", size)
	}
	l = mustOpen(t, cfg)
	if l.writer.at.first != 1 || l.writer.at.seq != 4002 {
		t.Errorf("at %+v", l.writer.at)
	}
	mustVerify(t, cfg.Path)
}
