package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
)

func newGrantsReplay() *cobra.Command {
	var file, output string
	cmd := &cobra.Command{
		Use:   "replay PATH... --config FILE",
		Short: "Say which tokens of an audit record a file would have refused",
		Long: `Hold every token that the audit record at PATH has to the configuration FILE, and
print those that FILE would have refused, and why: for the day before a change
of grants or profiles. PATH is a file or a directory. No server is asked.

A record names the claims and hashes most values, so a value that is not shown
is taken to pass; the names, the ttl, and the values that are shown are looked
at. Of a caller known by a token, a record has the sub alone: where a grant asks
for more, the line says that it cannot be told.

The exit code is 5 where something would have been refused.`,
		Example: `  jotsmith grants replay /var/lib/jotsmith/audit.jsonl --config new.yaml`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fail(exitUsage, fmt.Errorf("--output is text or json, not %q", output))
			}
			cfg, _, err := readConfig(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			r := newReplay(cfg)
			if err := r.read(cmd.Context(), args); err != nil {
				return fail(exitFailure, err)
			}
			if err := r.print(cmd.OutOrStdout(), output == "json"); err != nil {
				return fail(exitFailure, err)
			}
			if r.Refused > 0 {
				return fail(exitRefused, fmt.Errorf("%d of %d tokens would have been refused", r.Refused, r.Tokens))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration file; - reads standard input")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, or json")
	_ = cmd.MarkFlagRequired("config") // the flag exists
	return cmd
}

// replay holds recorded tokens to a configuration.
type replay struct {
	catalog *claims.Catalog
	policy  *policy.Policy
	found   map[finding]*finding
	intents map[uint64]audit.Record // that have no result yet

	Tokens   int64     `json:"tokens"`
	Refused  int64     `json:"refused"`
	Findings []finding `json:"findings"`
}

// finding is one reason to refuse, and how many tokens had it.
type finding struct {
	Caller  string    `json:"caller"`
	Profile string    `json:"profile"`
	Why     string    `json:"why"`
	Count   int64     `json:"count"`
	Last    time.Time `json:"last"`
}

func newReplay(cfg *config.Config) *replay {
	return &replay{
		catalog: claims.New(cfg.ClaimProfiles, nil, cfg.Narrowings()...),
		policy:  policy.New(cfg.PolicyRules),
		found:   map[finding]*finding{},
		intents: map[uint64]audit.Record{},
	}
}

// read looks at every token of a record.
func (r *replay) read(ctx context.Context, paths []string) error {
	for record, err := range audit.Records(ctx, paths) {
		if err != nil {
			return err
		}
		switch {
		case record.Type == "intent":
			r.intents[record.Seq] = record
		case record.Type == "result":
			intent, ok := r.intents[record.Intent]
			delete(r.intents, record.Intent)
			if ok && record.Outcome == string(audit.Minted) {
				r.look(intent)
			}
		case record.Outcome == string(audit.Minted):
			r.look(record)
		}
	}
	r.Findings = make([]finding, 0, len(r.found))
	for _, f := range r.found {
		r.Findings = append(r.Findings, *f)
	}
	slices.SortFunc(r.Findings, func(a, b finding) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Why, b.Why))
	})
	return nil
}

// look notes why a token would have been refused, if it would.
func (r *replay) look(record audit.Record) {
	r.Tokens++
	whys := r.refusals(record)
	if len(whys) > 0 {
		r.Refused++
	}
	for _, why := range whys {
		at := finding{Caller: record.Caller, Profile: record.Profile, Why: why}
		f := r.found[at]
		if f == nil {
			f = &finding{Caller: at.Caller, Profile: at.Profile, Why: why}
			r.found[at] = f
		}
		f.Count++
		f.Last = record.Time
	}
}

// refusals returns why a recorded token would be refused now.
func (r *replay) refusals(record audit.Record) []string {
	caller, err := parseCaller(record.Caller, nil)
	if err != nil {
		return []string{"the record's caller cannot be read"}
	}
	grant, err := r.policy.Decide(caller, record.Profile)
	if err != nil {
		if _, ok := caller.Token(); ok {
			return []string{"no grant, as far as the sub can tell"}
		}
		return []string{"no grant"}
	}
	profile, ok := r.catalog.Profile(record.Profile)
	if !ok {
		return []string{"no such profile"}
	}
	shown, hidden, whys := split(record.Claims, profile)
	req := claims.Request{Claims: shown}
	if ttl := time.Duration(record.TTL * float64(time.Second)); ttl > 0 && profile.Expires() && profile.Mode() != claims.Shared {
		req.TTL = &ttl
	}
	_, err = r.catalog.Prepare(grant, req)
	refusal, ok := errors.AsType[*claims.Refusal](err)
	if err != nil && !ok {
		return append(whys, err.Error())
	}
	if ok {
		for _, v := range refusal.Violations {
			if name, claim := strings.CutPrefix(v.Field, "claims."); claim && slices.Contains(hidden, name) {
				continue // it is there, and what it is nobody can tell
			}
			whys = append(whys, v.Field+" "+v.Description)
		}
	}
	return whys
}

// split returns the claims whose values a record shows, as an object, and the
// names of the others, with what a profile says of those names.
func split(recorded []audit.RecordedClaim, profile *claims.Profile) (shown string, hidden, whys []string) {
	var object []string
	for _, claim := range recorded {
		rule, ok := profile.Rules[claim.Name]
		switch {
		case claim.Value != nil:
			name, err := jsontext.AppendQuote(nil, claim.Name)
			if err == nil {
				object = append(object, string(name)+":"+string(claim.Value))
			}
			continue
		case !ok:
			whys = append(whys, "claims."+claim.Name+" is not a claim of this profile")
		case rule.Forbidden:
			whys = append(whys, "claims."+claim.Name+" is forbidden by the profile")
		case rule.Caller == nil:
			whys = append(whys, "claims."+claim.Name+" is set by the profile, not by the caller")
		}
		hidden = append(hidden, claim.Name)
	}
	return "{" + strings.Join(object, ",") + "}", hidden, whys
}

// print writes what was found.
func (r *replay) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	if len(r.Findings) == 0 {
		_, err := fmt.Fprintf(w, "all %d tokens would be minted\n", r.Tokens)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TOKENS\tLAST\tCALLER\tPROFILE\tWHY")
	for _, f := range r.Findings {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", f.Count, f.Last.UTC().Format(time.RFC3339), f.Caller, f.Profile, f.Why)
	}
	return t.Flush()
}
