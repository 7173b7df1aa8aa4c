package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/jotsmith/jotsmith/service/rotation"
)

// rotation reads what is remembered of the versions of keys, and says which that
// are due have nobody to follow them. The state is nil where there is none.
func (e *Exam) rotation(ctx context.Context) (*rotation.State, []Finding) {
	path := e.Config.GetRotationFile()
	if path == "" || len(e.Config.Rotations) == 0 {
		return nil, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, []Finding{{Note, "rotation_file", path + " is not there yet, so the first version of each key signs", "if a server has run with it, bring back a copy"}}
	}
	state, _, err := rotation.File{Path: path}.Load(ctx)
	if err != nil {
		return nil, []Finding{fromError(Fault, "rotation_file", err, "bring back a copy of it")}
	}
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(e.Config.Rotations)) {
		findings = append(findings, e.versions(name, state.Keys[name])...)
	}
	return &state, findings
}

// versions says whether the versions of a key can go on following one another.
func (e *Exam) versions(name string, remembered rotation.Key) []Finding {
	how, subject := e.Config.Rotations[name], "key "+name
	configured := len(e.Config.GetKeys()[name].GetVersions())
	var active *rotation.Version
	next := max(0, configured-len(remembered.Versions)) // those that no server has seen yet
	for i, v := range remembered.Versions {
		switch v.Standing {
		case rotation.Active:
			active = &remembered.Versions[i]
		case rotation.Next:
			next++
		case rotation.Retired, rotation.Gone:
		}
	}
	if active == nil {
		return nil // no server has run with it yet
	}
	const mend = "make one with jotsmith key generate URI, and add it to the end of the key's versions"
	if how.Every == 0 || next > 0 {
		return nil
	}
	due := active.Activated.Add(how.Every)
	left := due.Sub(e.Now())
	at := due.UTC().Format(time.RFC3339)
	switch {
	case left <= 0:
		return []Finding{{Fault, subject, fmt.Sprintf("version %s was to be followed by another at %s, and there is none", active.KID, at), mend}}
	case left < max(2*how.VerifierCache, how.Every/10):
		return []Finding{{Warning, subject, fmt.Sprintf("version %s is to be followed by another at %s, in %s, and there is none; it has to be published %s before it signs", active.KID, at, days(left), how.VerifierCache), mend}}
	}
	return []Finding{{Note, subject, fmt.Sprintf("version %s is to be followed by another at %s, and there is none yet", active.KID, at), mend}}
}

// expected returns the keys that verifiers are to know: of a key with versions,
// those that are remembered, and else those of the stores.
func expected(keys []known, state *rotation.State) []known {
	if state == nil {
		return keys
	}
	var all []known
	for _, key := range keys {
		if len(state.Keys[key.name].Versions) == 0 {
			all = append(all, key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(state.Keys)) {
		for _, v := range state.Keys[name].Versions {
			if public, err := v.PublicKey(); err == nil && v.Standing != rotation.Gone {
				all = append(all, known{name, v.KID, public})
			}
		}
	}
	return all
}
