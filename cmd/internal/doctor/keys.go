package doctor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/rotation"
	"github.com/jotsmith/jotsmith/service/signer"
)

// fromError makes a finding of an error, whose text has the mend behind a ": run"
// or ": write" where it knows one; mend is for those that do not.
func fromError(severity Severity, subject string, err error, mend string) Finding {
	what := strings.TrimPrefix(err.Error(), ": ") // of a store's error that names no operation
	for _, word := range []string{": let uid ", ": run ", ": write ", ": put ", ": make ", ": create ", ": install ", ": check ", ": name "} {
		if i := strings.LastIndex(what, word); i > 0 {
			what, mend = what[:i], strings.TrimPrefix(what[i:], ": ")
			break
		}
	}
	if os.Geteuid() == 0 && strings.Contains(what, ": it belongs to uid ") {
		mend += "; if the server runs as that user, run the doctor as it too: sudo -u USER jotsmith doctor"
	}
	return Finding{severity, subject, what, mend}
}

// keys reads the public half of each key that can be read without a login, but of
// the versions that need not be in their stores any more.
func (e *Exam) keys(ctx context.Context, state *rotation.State) ([]known, []Finding) {
	opened, unread := map[string]backends.KeyBackend{}, map[string]bool{}
	defer func() {
		for _, backend := range opened {
			_ = backend.Close() // nothing was changed
		}
	}()
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(e.Config.GetBackends())) {
		store := e.Store(e.Config.GetBackends()[name].GetUri())
		if store.Open == nil {
			unread[name] = store.Token != nil // else the check of the configuration has said what it is
			if e.Signs || !unread[name] {
				continue
			}
			findings = append(findings, Finding{Note, "backend " + name, "its keys were not looked at, for that takes a login", "have them sign a canary, by --sign or by jotsmith config check"})
			continue
		}
		backend, err := store.Open(ctx)
		if err != nil {
			findings = append(findings, fromError(Fault, "backend "+name, err, "mend the backend's uri, or bring the store back"))
			continue
		}
		opened[name] = backend
		if store.File != nil {
			findings = append(findings, directory("backend "+name, filepath.Dir(store.File("k")))...)
		}
	}
	var keys []known
	for _, key := range e.Config.SigningKeys {
		if spent(key, state) {
			continue
		}
		var of known
		for _, m := range key.Members {
			backend := opened[m.Store]
			if backend == nil { // which was said above, or by the check of the configuration
				if unread[m.Store] && key.SPKISHA256 == nil {
					findings = append(findings, unpinned(key, " to what jotsmith key describe URI prints, which logs in"))
				}
				continue
			}
			info, more := describe(ctx, key, m, backend)
			findings = append(findings, more...)
			if info.PublicKey == nil {
				continue
			}
			if of.public != nil && !of.public.Equal(info.PublicKey) {
				findings = append(findings, Finding{Fault, "key " + key.Label(), fmt.Sprintf("backend %s has another public key than the members before it", m.Store), "members are one key pair in several places: take this one out, or mend its id"})
			}
			of = known{key.Name, key.KID, info.PublicKey}
			if key.KID == "" {
				of.kid, _ = signer.Thumbprint(info.PublicKey) // of a P-256 key there is one
			}
		}
		if of.public != nil {
			keys = append(keys, of)
		}
	}
	return keys, findings
}

// spent says whether a version of a key signs no more.
func spent(key signer.Key, state *rotation.State) bool {
	return key.Version > 0 && state != nil && slices.ContainsFunc(state.Keys[key.Name].Versions, func(v rotation.Version) bool {
		return v.Place == key.Places() && (v.Standing == rotation.Retired || v.Standing == rotation.Gone)
	})
}

// directory says who else could put other files into the directory of keys.
func directory(subject, dir string) []Finding {
	info, err := os.Stat(dir)
	if err != nil {
		return nil // the store has said so
	}
	if err := backends.CheckWriters(dir, info); err != nil {
		return []Finding{fromError(Warning, subject, fmt.Errorf("directory %s: %w", dir, err), "")}
	}
	return nil
}

// describe reads one key in one store, and compares it with its pin.
func describe(ctx context.Context, key signer.Key, m signer.Member, backend backends.KeyBackend) (backends.KeyInfo, []Finding) {
	subject := "key " + key.Label()
	within, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	info, err := backend.Describe(within, m.ID)
	if err != nil {
		return info, []Finding{fromError(Fault, subject, fmt.Errorf("backend %s: %w", m.Store, err), mendOf(err))}
	}
	spki, err := x509.MarshalPKIXPublicKey(info.PublicKey)
	if err != nil {
		return info, []Finding{fromError(Fault, subject, err, "use a P-256 key")}
	}
	digest := sha256.Sum256(spki)
	switch {
	case key.SPKISHA256 != nil && !bytes.Equal(key.SPKISHA256, digest[:]):
		return info, []Finding{{
			Fault, subject,
			fmt.Sprintf("backend %s has another key than the pinned one: the SHA-256 digest of its public key is %x", m.Store, digest),
			"find out who replaced the key; if it was you, set spki_sha256 to this digest",
		}}
	case key.SPKISHA256 == nil && !info.InProcess:
		return info, []Finding{unpinned(key, ": "+hex.EncodeToString(digest[:]))}
	}
	return info, nil
}

// unpinned says that a key outside this process has no pin; value is how the mend
// goes on.
func unpinned(key signer.Key, value string) Finding {
	return Finding{
		Note, "key " + key.Label(), "is not pinned: whatever key the store shows at the next start is taken for it", "set spki_sha256" + value,
	}
}

// mendOf says what to do about an error of a store.
func mendOf(err error) string {
	switch {
	case strings.Contains(err.Error(), "no AWS credentials"):
		return "give the server's process credentials (docs/backends/aws-kms.md), or see that they can be fetched"
	case errors.Is(err, backends.ErrAccessDenied) && errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let uid %d read it", os.Geteuid())
	case errors.Is(err, backends.ErrAccessDenied):
		return "allow this identity kms:GetPublicKey and kms:Sign on the key, in its IAM policy and the key's own (docs/backends/aws-kms.md)"
	case errors.Is(err, backends.ErrKeyNotFound):
		return "mend the key's id or its backend; jotsmith key describe URI tries another"
	case errors.Is(err, backends.ErrKeyDisabled):
		return "enable the key in its store, or cancel its deletion"
	case errors.Is(err, backends.ErrKeyUnsuitable):
		return "use an ECDSA P-256 key that may sign"
	case errors.Is(err, backends.ErrThrottled):
		return "look again later, or have the account's quota raised"
	default:
		return "see that this machine reaches the store: network, proxy, endpoint"
	}
}
