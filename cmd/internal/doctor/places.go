package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jotsmith/jotsmith/backends"
)

// places looks at the files and sockets that the server writes.
func (e *Exam) places() []Finding {
	var findings []Finding
	if os.Geteuid() == 0 {
		findings = append(findings, Finding{Note, "doctor", "runs as root, who may do everything: what it says of permissions is true of a server that runs as root alone", "run it as the user that serves: sudo -u jotsmith jotsmith doctor ..."})
	}
	c := e.Config
	users := map[string][]string{} // of each directory in which the server makes files
	for _, f := range []struct {
		subject, path string
		secret        bool // held to the same as a file with a secret in it
	}{
		{"audit.file", c.GetAudit().GetFile(), false},
		{"ledger_file", c.GetLedgerFile(), true},
		{"rotation_file", c.GetRotationFile(), true},
		{"admin.state_file", c.GetAdmin().GetStateFile(), true},
	} {
		if f.path != "" {
			users[filepath.Dir(f.path)] = append(users[filepath.Dir(f.path)], f.subject)
			findings = append(findings, written(f.subject, f.path, f.secret)...)
		}
	}
	sockets := []string{c.GetAdmin().GetPath(), c.GetMetrics().GetUnix().GetPath()}
	for _, l := range c.GetListeners() {
		sockets = append(sockets, l.GetUnix().GetPath())
	}
	for _, path := range sockets {
		if path == "" {
			continue
		}
		subject := "socket " + path
		users[filepath.Dir(path)] = append(users[filepath.Dir(path)], subject)
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
			findings = append(findings, Finding{Fault, subject, "something is there that is not a socket, and the server does not remove it", "remove it, or choose another path"})
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(users)) {
		findings = append(findings, writable(strings.Join(users[dir], ", "), dir)...)
	}
	return findings
}

// written looks at a file that the server writes, which need not be there yet.
func written(subject, path string, secret bool) []Finding {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // of the directory more is said
		return nil
	case err != nil:
		return []Finding{fromError(Fault, subject, err, "let the server's user reach it")}
	case !info.Mode().IsRegular():
		return []Finding{{Fault, subject, path + " is not a regular file", "move it away, or choose another path"}}
	case secret:
		err = backends.CheckSecret(path, info)
	default:
		err = backends.CheckWriters(path, info)
	}
	var findings []Finding
	if err != nil {
		findings = append(findings, fromError(Fault, subject, fmt.Errorf("%s: %w", path, err), ""))
	}
	if err := mayWrite(path, false); err != nil {
		findings = append(findings, Finding{Fault, subject, fmt.Sprintf("uid %d may not write %s: %v", os.Geteuid(), path, err), "make the server's user its owner"})
	}
	return findings
}

// writable looks at a directory in which the server makes files.
func writable(subject, dir string) []Finding {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{{Fault, subject, "the directory " + dir + " is not there", "make it, with mode 0700, for the server's user; below /run, by systemd's RuntimeDirectory="}}
	case err != nil:
		return []Finding{fromError(Fault, subject, err, "let the server's user reach it")}
	case !info.IsDir():
		return []Finding{{Fault, subject, dir + " is not a directory", "choose another path"}}
	}
	if err := mayWrite(dir, true); err != nil {
		return []Finding{{Fault, subject, fmt.Sprintf("uid %d may not make files in %s: %v", os.Geteuid(), dir, err), "make the server's user its owner: chown it"}}
	}
	// In /tmp and its like nobody can remove another's file.
	if err := backends.CheckWriters(dir, info); err != nil && info.Mode()&fs.ModeSticky == 0 {
		return []Finding{fromError(Warning, subject, fmt.Errorf("directory %s: %w", dir, err), "")}
	}
	return nil
}

// spiffe looks whether the agent of each SPIFFE listener answers.
func (e *Exam) spiffe(ctx context.Context) []Finding {
	var findings []Finding
	for _, l := range e.Config.GetListeners() {
		s := l.GetTcp().GetSpiffe()
		if s == nil {
			continue
		}
		socket := strings.TrimPrefix(s.GetWorkloadApi(), "unix://")
		subject := "listener " + l.GetTcp().GetAddress()
		conn, err := (&net.Dialer{Timeout: lookTime}).DialContext(ctx, "unix", socket)
		if err != nil {
			findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the SPIFFE agent cannot be reached: %v", err), "start the agent, let the server's user connect to its socket, or mend workload_api"})
			continue
		}
		_ = conn.Close() // that it opened is all
		if info, err := os.Stat(filepath.Dir(socket)); err == nil && info.Mode().Perm()&0o022 != 0 {
			findings = append(findings, Finding{Fault, subject, "others than the agent can write the directory " + filepath.Dir(socket) + ", and whoever answers there says whom the server trusts", "let the agent alone write it: chmod go-w " + filepath.Dir(socket)})
		}
	}
	return findings
}
