package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

func newKeyImport() *cobra.Command {
	i := keyImport{}
	var to, output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "import FILE.p8 --to URI",
		Short: "Move a key from a file into AWS KMS or an HSM",
		Long: `Copy the private key in FILE into the store that --to names, prove that it is
the same key there (the same public half, and a signature that verifies with the
file's), and print the change of the configuration, under the same kid, and what
is left to do with FILE. Nothing is changed but the store.

--dry-run prints every step with the permission that it needs, and does nothing.

  awskms:  wrapped under an RSA key of KMS's own, into a key of the origin EXTERNAL;
           the alias comes last. --set wrap=RSAES_OAEP_SHA_256 in the place of
           RSA_AES_KEY_WRAP_SHA_256; the others are those of key generate
  pkcs11:  wrapped under an RSA key that the token makes for the purpose, where the
           token can; else handed to its module as it is, and said so.
           --set wrap=NAME asks for one way, --set wrap=none for the last
  file:    a copy of the right mode

Tokens go on as before until the configuration is changed. A run that failed or
was interrupted says what is left, and how to go on or remove it.`,
		Example: `  jotsmith key import AuthKey_2X9R4HXF34.p8 --to 'awskms:alias/asc?region=eu-west-1' --dry-run
  jotsmith key import AuthKey_2X9R4HXF34.p8 --to 'awskms:alias/asc?region=eu-west-1' --config /etc/jotsmith/jotsmith.yaml
  jotsmith key import issuer.p8 --kid issuer-1 --to 'pkcs11:token=prod;object=issuer?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/jotsmith/pin'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := checkOutput(output); err != nil {
				return err
			}
			if err := i.target.parse(cmd, to); err != nil {
				return err
			}
			done, err := i.run(ctx, cmd.ErrOrStderr(), args[0])
			if err != nil {
				return err
			}
			return printOutput(cmd.OutOrStdout(), output, done)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&to, "to", "", "the `URI` that the key will have")
	flags.BoolVar(&i.dryRun, "dry-run", false, "print what would be done, and do nothing")
	flags.StringVar(&i.config, "config", "", "the configuration that has the key now; its change is printed")
	flags.StringVar(&i.kid, "kid", "", "the key's kid, where neither --config nor Apple's file name says it")
	i.target.addFlags(flags)
	flags.StringVarP(&output, "output", "o", "text", "text or json")
	flags.DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the key store")
	_ = cmd.MarkFlagRequired("to") // there is such a flag
	return cmd
}

// keyImport is one import.
type keyImport struct {
	target keyTarget
	dryRun bool
	config string // file name, or empty
	kid    string
}

// imported is what `jotsmith key import` prints.
type imported struct {
	URI         string `json:"uri"`
	description `json:",inline"`
	DryRun      bool     `json:"dry_run,omitzero"`
	Steps       []step   `json:"steps,omitempty"` // of a dry run
	Notes       []string `json:"notes,omitempty"`
	Changes     []change `json:"changes"`
	Config      string   `json:"config,omitempty"`
	File        string   `json:"file"`
}

type step struct {
	Does  string `json:"does"`
	Needs string `json:"needs,omitempty"`
}

func (i *keyImport) run(ctx context.Context, progress io.Writer, file string) (imported, error) {
	entries, err := i.entries(file)
	if err != nil {
		return imported{}, err
	}
	key, err := readPrivateKey(ctx, file)
	if err != nil {
		return imported{}, fail(exitOperator, err)
	}
	defer key.Wipe()
	how, err := i.target.making(progress, key.Public())
	if err != nil {
		return imported{}, err
	}
	store, err := i.target.openMaker(ctx, i.target.backend, i.target.log)
	if err != nil {
		return imported{}, fail(exitOperator, err)
	}
	defer store.Close()
	importer, ok := store.(backends.Importer)
	if !ok {
		return imported{}, fail(exitUsage, fmt.Errorf("a store of the scheme %s takes no keys from elsewhere", i.target.name))
	}
	out := imported{URI: i.target.uri, Config: i.config, File: file, DryRun: i.dryRun}
	if out.Changes, err = i.changes(entries, key.Public()); err != nil {
		return imported{}, err
	}
	made := backends.Made{KeyInfo: backends.KeyInfo{PublicKey: key.Public()}}
	if i.dryRun {
		steps, err := importer.PlanImport(ctx, i.target.id, how)
		if err != nil {
			return imported{}, makingFault(err)
		}
		for _, s := range steps {
			out.Steps = append(out.Steps, step(s))
		}
	} else {
		made, err = importer.Import(ctx, i.target.id, key, how)
		key.Wipe()
		if err != nil {
			return imported{}, makingFault(err)
		}
	}
	out.Notes = made.Notes
	out.description, err = newDescription(made.KeyInfo)
	return out, fail(exitFailure, err)
}

// appleFile is how Apple names the files that it lets one download once.
const appleFile = `^[A-Za-z]+_([A-Z0-9]{10})\.p8$`

// entries returns the places of the configuration's keys that are the file; none
// without a configuration, when the kid must be known from elsewhere.
func (i *keyImport) entries(file string) ([]keyPlace, error) {
	if i.config == "" {
		if match := regexp.MustCompile(appleFile).FindStringSubmatch(filepath.Base(file)); i.kid == "" && match != nil {
			i.kid = match[1]
		}
		if i.kid == "" {
			return nil, fail(exitUsage, errors.New("the kid must stay the same, and nothing says what it is: give --config or --kid"))
		}
		return nil, nil
	}
	if i.kid != "" {
		return nil, fail(exitUsage, errors.New("--config says the kid: leave out --kid"))
	}
	cfg, err := config.Load(i.config, checkURI)
	if err != nil {
		return nil, fail(exitConfig, err)
	}
	source, err := os.Stat(file)
	if err != nil {
		return nil, fail(exitOperator, err)
	}
	var places []keyPlace
	for _, name := range slices.Sorted(maps.Keys(cfg.GetKeys())) {
		key := cfg.GetKeys()[name]
		all := []keyPlace{{name, key.GetBackend(), key.GetId()}}
		members := key.GetMembers()
		for _, v := range key.GetVersions() {
			all = append(all, keyPlace{name, v.GetBackend(), v.GetId()})
			members = append(members, v.GetMembers()...)
		}
		for _, m := range members {
			all = append(all, keyPlace{name, m.GetBackend(), m.GetId()})
		}
		for _, place := range all {
			at := keyFile(cfg.GetBackends()[place.backend].GetUri(), place.id)
			if info, err := os.Stat(at); at != "" && err == nil && os.SameFile(source, info) {
				places = append(places, place)
			}
		}
	}
	if len(places) == 0 {
		return nil, fail(exitConfig, fmt.Errorf("no key of %s is in the file %s: give --kid in the place of --config", i.config, file))
	}
	return places, nil
}

// changes is what is to be changed in the configuration once the store has the
// key of that public half.
func (i *keyImport) changes(entries []keyPlace, public *ecdsa.PublicKey) ([]change, error) {
	d, err := newDescription(backends.KeyInfo{PublicKey: public})
	if err != nil {
		return nil, fail(exitFailure, err)
	}
	s := i.target.suggest(i.kid, d)
	if len(entries) == 0 {
		return []change{
			{At: "backends:", Add: []string{"  " + s.backendLine()}},
			{At: "keys:, in the place of what has the kid " + i.kid + " now", Add: []string{"  " + s.keyLine()}},
		}, nil
	}
	data, err := os.ReadFile(i.config)
	if err != nil {
		return nil, fail(exitConfig, err)
	}
	changes, err := moveKeys(data, entries, s, keyFile(s.uri, s.id) != "")
	if err != nil {
		return nil, fail(exitConfig, fmt.Errorf("%s: %w", i.config, err))
	}
	// What is suggested has passed the check that it will meet.
	if _, err := config.Parse(i.config, apply(data, changes), checkURI); err != nil {
		return nil, fail(exitConfig, fmt.Errorf("the change of %s would not be accepted: %w; give --kid in the place of --config", i.config, err))
	}
	return changes, nil
}

func (o imported) text() string {
	var b strings.Builder
	if o.DryRun {
		b.WriteString("Would do, each with the permission that it needs, and has done nothing:\n\n")
		for n, s := range o.Steps {
			fmt.Fprintf(&b, "%2d. %s\n", n+1, s.Does)
			if s.Needs != "" {
				fmt.Fprintf(&b, "      %s\n", s.Needs)
			}
		}
		fmt.Fprintf(&b, "\nspki_sha256   %s\nthumbprint    %s\n\nAnd then:\n", o.SPKISHA256, o.Thumbprint)
	} else {
		fmt.Fprintf(&b, "uri           %s\n%s\n%s\nThe key is there, and signs as the one in %s does. Tokens still come from the file.\nTo have them come from here:\n",
			o.URI, o.description.text(), notesText(o.Notes), o.File)
	}
	fmt.Fprintf(&b, "\n1. Change %s:\n\n", cmp.Or(o.Config, "the configuration"))
	for _, c := range o.Changes {
		b.WriteString(c.text())
	}
	fmt.Fprintf(&b, `
2. jotsmith config check %s    (reads the key in its new place and has it sign)
3. jotsmith reload    (the kid is the same: verifiers notice nothing)
4. Decide about %s, which is still a key that signs:
   keep it     where no network reaches it, such as a disk in a safe. Apple gives a .p8
               out once, and a store that loses the key can get it back from nowhere else
   destroy it  %s
               Should the store lose the key after that, revoke it where it is registered,
               and begin with a new one. Backups, snapshots and disks that copy on write
               may hold the file still`, backends.Command(cmp.Or(o.Config, "FILE")), o.File, backends.Command("shred", "-u", o.File))
	return b.String()
}
