package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
	"github.com/jotsmith/jotsmith/cmd/internal/top"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func newStatus() *cobra.Command {
	var o operator
	return o.command(&cobra.Command{
		Use:   "status",
		Short: "Say what a server is doing",
		Long: `Say what a server is doing: its configuration, keys and key stores, who asks
most, what is stopped, what is still valid, and the newest failures of each kind.
It counts from the server's start. ` + "`jotsmith top`" + ` shows the same as it changes.`,
		Example: `  jotsmith status --admin unix:///run/jotsmith/admin.sock`,
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, _ []string, w io.Writer) error {
		resp, err := admin.Status(ctx, &jotsmithv1.StatusRequest{})
		if err != nil {
			return o.fault(err)
		}
		return o.print(w, resp, func(w io.Writer) { writeStatus(w, resp) })
	})
}

// writeStatus writes a server's state for people.
func writeStatus(w io.Writer, s *jotsmithv1.StatusResponse) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() //nolint:errcheck // of a builder
	fmt.Fprintf(t, "version\t%s\n", s.GetVersion())
	fmt.Fprintf(t, "started\t%s\n", s.GetStartTime().AsTime().Format(time.RFC3339))
	fmt.Fprintf(t, "configuration\t%s since %s\n", s.GetConfigGeneration(), s.GetConfigTime().AsTime().Format(time.RFC3339))
	if s.GetReloadError() != "" {
		fmt.Fprintf(t, "not taken up\t%s\n", strings.ReplaceAll(terminal.Printable(s.GetReloadError()), "\n", "\n\t"))
	}
	if !s.GetServing() {
		fmt.Fprintf(t, "serving\tno: no key can sign\n")
	}
	fmt.Fprintf(t, "tokens\t%d minted, %d handed out again, %d requests failed\n", s.GetMinted(), s.GetReused(), s.GetFailed())
	fmt.Fprintf(t, "calls\t%d under way, %d turned away, %d over a quota\n", s.GetCallsInFlight(), s.GetGateRefusals(), s.GetQuotaRefusals())
	fmt.Fprintf(t, "watches\t%d\n", s.GetWatches())
	fmt.Fprintf(t, "kept tokens\t%d\n", s.GetKeptTokens())
	writeKeys(t, s.GetKeys())
	writeBackends(t, s.GetBackends())
	writeCertificates(t, s.GetCertificates())
	writeBusiest(t, s)
	if len(s.GetDisabled()) > 0 {
		fmt.Fprintf(t, "\nSTOPPED\tSINCE\tBY\tWHY\n")
		for _, d := range s.GetDisabled() {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", terminal.OneLine(top.TargetText(d.GetTarget())), d.GetTime().AsTime().Format(time.RFC3339),
				terminal.OneLine(d.GetBy()), terminal.OneLine(d.GetReason()))
		}
	}
	writeAlive(t, s.GetAlive())
	if len(s.GetErrors()) > 0 {
		fmt.Fprintf(t, "\nFAILED\tMETHOD\tTIMES\tLAST\tCALLER\tPROFILE\tERROR\n")
		for _, e := range s.GetErrors() {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", e.GetReason(), e.GetMethod(), e.GetCount(), e.GetTime().AsTime().Format(time.RFC3339),
				terminal.OneLine(e.GetCaller()), cmp.Or(terminal.OneLine(e.GetProfile()), "-"), terminal.OneLine(e.GetError()))
		}
	}
}

// writeKeys writes whether each key can sign and, of one in several places, where.
func writeKeys(t io.Writer, keys []*jotsmithv1.KeyStatus) {
	fmt.Fprintf(t, "\nKEY\tKID\tBACKEND\tSTATE\n")
	for _, k := range keys {
		state := stateText(k)
		if len(k.GetMembers()) == 0 {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.GetName(), cmp.Or(k.GetKid(), "-"), k.GetBackend(), state)
			continue
		}
		healthy := 0
		for _, m := range k.GetMembers() {
			if m.GetHealthy() {
				healthy++
			}
		}
		if !k.GetHealthy() {
			state = k.GetReason() // the places say the rest
		}
		fmt.Fprintf(t, "%s\t%s\t%d of %d\t%s\n", k.GetName(), cmp.Or(k.GetKid(), "-"), healthy, len(k.GetMembers()), state)
		for _, m := range k.GetMembers() {
			state := stateText(m)
			if m.GetHealthy() && m.GetLatency() != nil {
				state += " in " + m.GetLatency().AsDuration().Round(10*time.Microsecond).String()
			}
			if m.GetFirst() {
				state += ", asked first"
			}
			fmt.Fprintf(t, "\t\t%s\t%s\n", m.GetBackend(), state)
		}
	}
}

// writeBackends writes what the key stores are busy with.
func writeBackends(t io.Writer, backends []*jotsmithv1.BackendStatus) {
	fmt.Fprintf(t, "\nBACKEND\tKIND\tSTATE\tIN FLIGHT\tWAITING\tSIGNED\tFAILED\tLAST FAILURE\n")
	for _, b := range backends {
		state := "there"
		if !b.GetHealthy() {
			state = "away"
		}
		last := "-"
		if b.GetLastErrorTime() != nil {
			last = fmt.Sprintf("%s %s: %s", b.GetLastErrorTime().AsTime().Format(time.RFC3339), b.GetLastReason(), terminal.OneLine(b.GetLastError()))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d of %d\t%d of %d\t%d\t%d\t%s\n", b.GetName(), b.GetScheme(), state,
			b.GetInFlight(), b.GetMaxInFlight(), b.GetWaiting(), b.GetMaxWaiting(), b.GetSignatures(), b.GetFailed(), last)
	}
}

// mostShown is how many callers and profiles are shown of those who have most.
const mostShown = 10

// writeBusiest writes the callers and profiles that got most.
func writeBusiest(t io.Writer, s *jotsmithv1.StatusResponse) {
	if callers := s.GetCallers(); len(callers) > 0 {
		fmt.Fprintf(t, "\nCALLER\tMINTED\tREUSED\tFAILED\n")
		for _, c := range callers[:min(mostShown, len(callers))] { // which come so ordered
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", terminal.OneLine(c.GetName()), c.GetMinted(), c.GetReused(), c.GetFailed())
		}
		if more := len(callers) - mostShown; more > 0 {
			fmt.Fprintf(t, "and %d more\n", more)
		}
	}
	profiles := slices.Clone(s.GetProfiles())
	slices.SortStableFunc(profiles, func(a, b *jotsmithv1.ProfileStatus) int {
		return cmp.Compare(b.GetMinted()+b.GetReused(), a.GetMinted()+a.GetReused())
	})
	fmt.Fprintf(t, "\nPROFILE\tKEY\tMINTED\tREUSED\n")
	for _, p := range profiles[:min(mostShown, len(profiles))] {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\n", p.GetName(), p.GetKey(), p.GetMinted(), p.GetReused())
	}
	if more := len(profiles) - mostShown; more > 0 {
		fmt.Fprintf(t, "and %d more\n", more)
	}
}

// stateText says whether a key, or one place of it, can sign.
func stateText(k interface {
	GetHealthy() bool
	GetReason() string
	GetError() string
},
) string {
	if k.GetHealthy() {
		return "can sign"
	}
	return k.GetReason() + ": " + terminal.OneLine(k.GetError())
}

// writeCertificates writes until when the TLS listeners' certificates are valid.
func writeCertificates(w io.Writer, certificates []*jotsmithv1.CertificateStatus) {
	if len(certificates) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCERTIFICATE\tFROM\tUNTIL\tSTATE\n")
	for _, c := range certificates {
		from, state := "file", "fine"
		if c.GetSpiffeId() != "" {
			from = c.GetSpiffeId()
			state = "callers of " + strings.Join(c.GetTrustDomains(), ", ")
		}
		switch {
		case c.GetError() != "":
			state = terminal.OneLine(c.GetError())
		case time.Now().After(c.GetExpireTime().AsTime()):
			state = "has expired"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.GetAddress(), from, c.GetExpireTime().AsTime().Format(time.RFC3339), state)
	}
}

// writeAlive writes which tokens can still be valid.
func writeAlive(w io.Writer, alive []*jotsmithv1.Alive) {
	if len(alive) == 0 {
		return
	}
	fmt.Fprintf(w, "\nSTILL VALID\tKID\tTOKENS\tUNTIL\tTO REVOKE THE KEY\n")
	for _, a := range alive {
		revoke := a.GetRevocationUrl()
		if revoke == "" {
			revoke = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", a.GetProfile(), a.GetKid(), a.GetCount(), a.GetNewestExpireTime().AsTime().Format(time.RFC3339), revoke)
	}
}
