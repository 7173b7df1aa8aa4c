package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// server asks the server that runs how it is.
func (e *Exam) server(ctx context.Context) []Finding {
	admin := e.Config.GetAdmin()
	if admin == nil {
		return []Finding{{Note, "admin", "there is no section admin, so a server that runs was not asked, and nobody can stop minting by jotsmith kill", "add admin: {path: ..., state_file: ...}"}}
	}
	subject := "server at " + admin.GetPath()
	if why := unreachable(ctx, admin.GetPath()); why != nil {
		switch {
		case errors.Is(why, fs.ErrNotExist), errors.Is(why, syscall.ECONNREFUSED):
			return []Finding{{Note, subject, "no server runs", "start one: jotsmith serve --config FILE"}}
		case errors.Is(why, fs.ErrPermission):
			return []Finding{{Warning, subject, "this user may not connect, so the server was not asked", "run the doctor as root or as the user that serves"}}
		default:
			return []Finding{{Warning, subject, why.Error(), "see what is at the path"}}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s, err := e.Status(ctx)
	if err != nil {
		if code := status.Code(err); code == codes.PermissionDenied || code == codes.Unauthenticated {
			return []Finding{{Warning, subject, "this user is none of its operators, so the server was not asked", "run the doctor as one of admin.uids"}}
		}
		return []Finding{{Fault, subject, fmt.Sprintf("somebody listens and does not answer: %v", err), "look into the server's log; if it hangs, restart it"}}
	}
	return e.judgeStatus(subject, s)
}

// judgeStatus says what of a server's state is not as it should be.
func (e *Exam) judgeStatus(subject string, s *jotsmithv1.StatusResponse) []Finding {
	var findings []Finding
	found := func(severity Severity, subject, mend, format string, args ...any) {
		findings = append(findings, Finding{severity, subject, fmt.Sprintf(format, args...), mend})
	}
	switch {
	case s.GetReloadError() != "":
		found(Fault, subject, "mend the file, then jotsmith reload", "answers under configuration %s and has refused a newer one: %s", s.GetConfigGeneration(), s.GetReloadError())
	case e.Config.Generation != "" && s.GetConfigGeneration() != e.Config.Generation:
		found(Warning, subject, "see that the server's --config is this file, then jotsmith reload", "answers under configuration %s, and the file is %s", s.GetConfigGeneration(), e.Config.Generation)
	}
	if !s.GetServing() {
		found(Fault, subject, "see the findings about its keys", "no key can sign, so it serves nobody")
	}
	for _, k := range s.GetKeys() {
		if !k.GetHealthy() {
			found(Fault, "key "+k.GetName(), "docs/errors.md says what to do about "+k.GetReason(), "the server cannot sign with it: %s: %s", k.GetReason(), k.GetError())
			continue
		}
		for _, m := range k.GetMembers() {
			if !m.GetHealthy() {
				found(Warning, "key "+k.GetName(), "docs/errors.md says what to do about "+m.GetReason(), "backend %s is out of use, and the others sign for it: %s: %s", m.GetBackend(), m.GetReason(), m.GetError())
			}
		}
	}
	for _, c := range s.GetCertificates() {
		if c.GetError() != "" {
			found(Warning, "listener "+c.GetAddress(), "see what the SPIFFE agent's log says", "the SPIFFE agent: %s", c.GetError())
		}
		if left := c.GetExpireTime().AsTime().Sub(e.Now()); c.GetExpireTime() != nil && left <= 0 {
			found(Fault, "listener "+c.GetAddress(), "have it issued anew, then jotsmith reload", "the server shows a certificate that is over since %s", inWords(left))
		}
	}
	for _, d := range s.GetDisabled() {
		target := d.GetTarget()
		what := "everything"
		switch t := target.GetTarget().(type) {
		case *jotsmithv1.Target_Key:
			what = "key " + t.Key
		case *jotsmithv1.Target_Profile:
			what = "profile " + t.Profile
		case *jotsmithv1.Target_Caller:
			what = "caller " + t.Caller
		}
		found(Warning, what, "if it is over: jotsmith enable "+what, "was stopped by %s: %q", d.GetBy(), d.GetReason())
	}
	for i, r := range s.GetErrors() {
		if i < 3 { // the newest; jotsmith status has them all
			found(Note, subject, "", "%d calls of %s have failed with %s", r.GetCount(), r.GetMethod(), r.GetReason())
		}
	}
	return findings
}

// unreachable says why nobody can be reached at a Unix socket; nil where somebody
// listens.
func unreachable(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{Timeout: lookTime}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}
