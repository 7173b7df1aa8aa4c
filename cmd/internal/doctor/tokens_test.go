package doctor

import (
	"context"
	"errors"
	"testing"

	"github.com/jotsmith/jotsmith/backends/pkcs11"
)

func TestWhatATokenSaysIsJudged(t *testing.T) {
	well := pkcs11.TokenState{Remembers: true, Label: "prod", Serial: "1", LoginRequired: true, PINSet: true}
	for name, tc := range map[string]struct {
		change func(*pkcs11.TokenState)
		want   []string
	}{
		"well":          {func(*pkcs11.TokenState) {}, nil},
		"forgets":       {func(s *pkcs11.TokenState) { s.Remembers = false }, []string{"note forgotten with a restart"}},
		"count low":     {func(s *pkcs11.TokenState) { s.CountLow = true }, []string{"warning a wrong PIN was tried"}},
		"final try":     {func(s *pkcs11.TokenState) { s.CountLow, s.FinalTry = true, true }, []string{"error one more wrong PIN locks it"}},
		"locked":        {func(s *pkcs11.TokenState) { s.CountLow, s.FinalTry, s.Locked = true, true, true }, []string{"error is locked"}},
		"to be changed": {func(s *pkcs11.TokenState) { s.ToBeChanged = true }, []string{"warning wants another user PIN"}},
		"refused":       {func(s *pkcs11.TokenState) { s.Refused = true }, []string{"error has refused the PIN in the file before"}},
		"no PIN":        {func(s *pkcs11.TokenState) { s.PINSet = false }, []string{"error has no user PIN yet"}},
		"no login":      {func(s *pkcs11.TokenState) { s.LoginRequired = false }, []string{"warning needs no login"}},
		"away":          {func(s *pkcs11.TokenState) { s.Token = errors.New("no token among 2 fits the URI") }, []string{"error no token among 2"}},
		"PIN and memory": {func(s *pkcs11.TokenState) {
			s.PINFile, s.Memory = errors.New("pin-source: gone"), errors.New("pin-state: damaged")
		}, []string{"error pin-source", "error pin-state"}},
	} {
		t.Run(name, func(t *testing.T) {
			state := well
			tc.change(&state)
			wantFindings(t, judgeToken("backend hsm", state), tc.want...)
		})
	}
}

func TestATokenThatCannotBeLookedAtIsAFault(t *testing.T) {
	e := examOf(t, plain)
	e.Store = func(string) Store {
		return Store{Token: func(context.Context) (pkcs11.TokenState, error) {
			return pkcs11.TokenState{}, errors.New("built without PKCS#11: build it with CGO_ENABLED=1")
		}}
	}
	wantFindings(t, e.tokens(t.Context()), "error built without PKCS#11")
}
