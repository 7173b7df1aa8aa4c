package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jotsmith/jotsmith/backends/pkcs11"
)

// tokens looks at the PKCS#11 tokens and at the PINs for them, without a login.
func (e *Exam) tokens(ctx context.Context) []Finding {
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(e.Config.GetBackends())) {
		store := e.Store(e.Config.GetBackends()[name].GetUri())
		if store.Token == nil {
			continue
		}
		subject := "backend " + name
		within, cancel := context.WithTimeout(ctx, lookTime)
		state, err := store.Token(within)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the PKCS#11 module gave no answer in %s", lookTime), "see whether the HSM and its client software answer: pkcs11-tool --module MODULE --list-token-slots"})
		case err != nil:
			findings = append(findings, fromError(Fault, subject, err, "mend the backend's uri"))
		default:
			findings = append(findings, judgeToken(subject, state)...)
		}
	}
	return findings
}

// judgeToken says what stands in the way of a login.
func judgeToken(subject string, s pkcs11.TokenState) []Finding {
	var findings []Finding
	found := func(severity Severity, what, mend string) {
		findings = append(findings, Finding{severity, subject, what, mend})
	}
	const login = "log in once with the right PIN by another tool: pkcs11-tool --login --test"
	if s.PINFile != nil {
		findings = append(findings, fromError(Fault, subject, s.PINFile, "write the user PIN into the file of pin-source, with mode 0600, for the server's user"))
	}
	if s.Memory != nil {
		findings = append(findings, fromError(Fault, subject, s.Memory, "mend the directory of pin-state; no login is made without it"))
	}
	if s.Token != nil {
		return append(findings, fromError(Fault, subject, s.Token, "mend module-path and the token's name in the backend's uri, or bring the HSM back"))
	}
	token := fmt.Sprintf("token %q, serial %q: ", s.Label, s.Serial)
	switch {
	case !s.LoginRequired:
		found(Warning, token+"needs no login, so whoever can load the module can sign", "give the token a user PIN")
		return findings
	case !s.PINSet:
		found(Fault, token+"has no user PIN yet", "have the security officer set one: pkcs11-tool --init-pin --login --so-pin ...")
		return findings
	case s.Locked:
		found(Fault, token+"the user PIN is locked", "have the security officer unlock it, then see that the PIN file holds the right PIN")
	case s.FinalTry:
		found(Fault, token+"one more wrong PIN locks it, so the server tries none", login)
	case s.CountLow:
		found(Warning, token+"a wrong PIN was tried since the last login", "see that the PIN file holds the right PIN, then "+login)
	}
	if s.ToBeChanged {
		found(Warning, token+"wants another user PIN: it has expired or is the security officer's choice", "change it by pkcs11-tool --change-pin, and write the new one into the PIN file")
	}
	if s.Refused {
		found(Fault, token+"has refused the PIN in the file before, so it is not tried again", "write the right PIN into the file; if the token has been given this PIN since, "+s.RefusedMend)
	}
	if !s.Remembers {
		found(Note, "a PIN that the token refuses is forgotten with a restart, and each restart then costs a try", "add pin-state=DIRECTORY to the backend's uri")
	}
	return findings
}
