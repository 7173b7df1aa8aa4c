package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func newProfile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Look at the kinds of token that there are",
		Example: `  jotsmith profile list
  jotsmith profile show apple/app-store-connect-team
  jotsmith profile check asc --config jotsmith.yaml`,
	}
	group(cmd, newProfileList(), newProfileShow(), newProfileCheck())
	return cmd
}

// profileListFlags are the flags of `jotsmith profile list`.
type profileListFlags struct {
	client  client
	presets bool
	file    string
	output  string
	timeout time.Duration
}

func newProfileList() *cobra.Command {
	var f profileListFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the profiles of a server, of a file, or the presets",
		Long: `Ask a server for the profiles that you may mint and list them.

For profiles whose tokens can be valid for more than a day, NEWEST EXPIRY says
when the last token ends that the server has given out, to whomever. A "!" marks
one that has ended, or ends within 30 days: somebody has to put a new token in
its place.

With --config FILE it lists the profiles of a configuration, and with --presets
what a profile can start from; both need no server.`,
		Example: `  jotsmith profile list
  jotsmith profile list -o json
  jotsmith profile list --presets
  jotsmith profile list --config /etc/jotsmith/jotsmith.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.presets, "presets", false, "list the presets that are built in")
	flags.StringVarP(&f.file, "config", "c", "", "list the profiles of this configuration; - reads standard input")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the server")
	f.client.addFlags(flags)
	return cmd
}

func (f *profileListFlags) run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	switch {
	case f.output != "text" && f.output != "json":
		return fail(exitUsage, fmt.Errorf("--output is text or json, not %q", f.output))
	case f.presets && f.file != "":
		return fail(exitUsage, errors.New("--presets and --config exclude each other"))
	case f.presets:
		return listPresets(stdout, f.output)
	case f.file != "":
		return f.listFile(stdin, stdout)
	}
	conn, err := f.client.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the process ends
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	resp, err := jotsmithv1.NewProfileServiceClient(conn).ListProfiles(ctx, &jotsmithv1.ListProfilesRequest{})
	if err != nil {
		return f.client.fault(err)
	}
	if f.output == "json" {
		return fail(exitFailure, printProto(stdout, resp))
	}
	return fail(exitFailure, printProfiles(stdout, resp.GetProfiles(), true, time.Now()))
}

// listFile lists the profiles of a configuration.
func (f *profileListFlags) listFile(stdin io.Reader, stdout io.Writer) error {
	cfg, _, err := readConfig(f.file, stdin)
	if err != nil {
		return err
	}
	resp := &jotsmithv1.ListProfilesResponse{ConfigGeneration: cfg.Generation}
	for i := range cfg.ClaimProfiles {
		p := &cfg.ClaimProfiles[i]
		profile := &jotsmithv1.Profile{
			Name: p.Name, Description: p.Description, Kid: cfg.GetKeys()[p.Key].GetKid(),
			Reuse: string(p.Mode()), LongLived: p.Lasting(),
		}
		if p.Expires() {
			profile.DefaultTtl, profile.MaxTtl = durationpb.New(p.DefaultTTL), durationpb.New(p.MaxTTL)
		}
		resp.Profiles = append(resp.Profiles, profile)
	}
	if f.output == "json" {
		return fail(exitFailure, printProto(stdout, resp))
	}
	return fail(exitFailure, printProfiles(stdout, resp.GetProfiles(), false, time.Now()))
}

// printProfiles prints profiles as a table. Only a server knows their newest
// expiries.
func printProfiles(w io.Writer, profiles []*jotsmithv1.Profile, expiries bool, now time.Time) error {
	header := []string{"NAME", "KID", "REUSE", "DEFAULT TTL", "MAX TTL", "NEWEST EXPIRY", "DESCRIPTION"}
	const expiry = 5 // its column
	rows := [][]string{header}
	marked := false
	for _, p := range profiles {
		row := []string{p.GetName(), cmp.Or(p.GetKid(), "-"), p.GetReuse(), "no exp", "no exp", "-", p.GetDescription()}
		if p.GetMaxTtl() != nil {
			row[3], row[4] = span(p.GetDefaultTtl().AsDuration()), span(p.GetMaxTtl().AsDuration())
		}
		if p.GetLongLived() {
			row[expiry] = "none known"
			if p.GetNewestExpireTime() != nil {
				text, look := expiryInWords(p.GetNewestExpireTime().AsTime(), now)
				row[expiry], marked = text, marked || look
			}
		}
		rows = append(rows, row)
	}
	if !expiries {
		for i, row := range rows {
			rows[i] = slices.Delete(row, expiry, expiry+1)
		}
	}
	if err := printTable(w, rows); err != nil || !marked {
		return err
	}
	_, err := fmt.Fprintln(w, "\n! a token has ended, or ends within 30 days: put a new one where it is used")
	return err
}

// soon is how long before the newest token's end somebody should look at it.
const soon = 30 * 24 * time.Hour

// expiryInWords writes the day on which a token ends and how far off it is, and
// says whether somebody should look at it.
func expiryInWords(t, now time.Time) (text string, look bool) {
	const day = 24 * time.Hour
	away := func(d time.Duration) string {
		switch {
		case d < 2*time.Hour:
			return fmt.Sprintf("%d minutes", d/time.Minute)
		case d < 2*day:
			return fmt.Sprintf("%d hours", d/time.Hour)
		}
		return fmt.Sprintf("%d days", d/day)
	}
	date := t.UTC().Format(time.DateOnly)
	switch left := t.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("! %s (ended %s ago)", date, away(-left)), true
	case left < soon:
		return fmt.Sprintf("! %s (in %s)", date, away(left)), true
	default:
		return fmt.Sprintf("%s (in %s)", date, away(left)), false
	}
}

// presetEntry is one preset in a list.
type presetEntry struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Sources     []string `json:"sources"`
}

// listPresets lists what a profile can start from.
func listPresets(w io.Writer, output string) error {
	presets, err := config.Presets()
	if err != nil {
		return fail(exitFailure, err)
	}
	var entries []presetEntry
	rows := [][]string{{"NAME", "DESCRIPTION"}}
	for name, preset := range presets {
		entries = append(entries, presetEntry{name, preset.GetProfile().GetDescription(), preset.GetSources()})
		rows = append(rows, []string{name, preset.GetProfile().GetDescription()})
	}
	if output == "json" {
		slices.SortFunc(entries, func(a, b presetEntry) int { return strings.Compare(a.Name, b.Name) })
		return fail(exitFailure, printJSON(w, entries))
	}
	slices.SortFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return fail(exitFailure, printTable(w, rows))
}

// printTable prints rows in aligned columns, the first row being their names.
func printTable(w io.Writer, rows [][]string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.Map(func(r rune) rune {
				if unicode.IsControl(r) { // which would break the table
					return ' '
				}
				return r
			}, cell)
		}
		_, _ = fmt.Fprintln(table, strings.Join(row, "\t")) // a strings.Builder does not fail
	}
	_ = table.Flush()
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// span writes a duration as --ttl takes it: 10m and not 10m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// readConfig reads a configuration as serve would, but for the key stores, and
// returns its text too.
func readConfig(path string, stdin io.Reader) (*config.Config, []byte, error) {
	if path != "-" {
		cfg, err := config.Load(path, checkURI)
		if err != nil {
			return nil, nil, fail(exitConfig, err)
		}
		text, err := os.ReadFile(path)
		return cfg, text, fail(exitConfig, err)
	}
	text, err := io.ReadAll(io.LimitReader(stdin, config.MaxSize+1))
	if err == nil && len(text) > config.MaxSize {
		err = fmt.Errorf("standard input is longer than %d bytes", config.MaxSize)
	}
	if err != nil {
		return nil, nil, fail(exitConfig, err)
	}
	cfg, err := config.Parse("<stdin>", text, checkURI)
	return cfg, text, fail(exitConfig, err)
}

// unknown is the error for a name that nothing has. It lists the nearest, and
// says where the others are.
func unknown(kind, name string, known []string, others string) error {
	if near := nearest(name, known); len(near) > 0 {
		return fail(exitUsage, fmt.Errorf("there is no %s %q; near it: %s; %s lists all", kind, name, strings.Join(near, ", "), others))
	}
	return fail(exitUsage, fmt.Errorf("there is no %s %q; %s lists all", kind, name, others))
}

// nearest returns up to three of the known names that somebody may have meant:
// those that hold the name or differ from it, or from their last part, in few
// letters.
func nearest(name string, known []string) []string {
	const most, typos = 3, 2
	type candidate struct {
		name     string
		distance int
	}
	name = strings.ToLower(name)
	var near []candidate
	for _, k := range known {
		d := distance(name, k)
		if _, last, ok := strings.Cut(k, "/"); ok {
			d = min(d, distance(name, last)+1)
		}
		if d <= max(typos, len(name)/3) || name != "" && strings.Contains(k, name) {
			near = append(near, candidate{k, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range near[:min(most, len(near))] {
		names = append(names, c.name)
	}
	return names
}

// distance is how many bytes have to be put in, taken out or changed to make one
// name of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
