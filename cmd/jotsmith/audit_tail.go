package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/service/audit"
)

// auditPoll is how often `jotsmith audit tail --follow` looks for more.
const auditPoll = 200 * time.Millisecond

func newAuditTail() *cobra.Command {
	var lines int
	var follow bool
	var output string
	cmd := &cobra.Command{
		Use:   "tail PATH",
		Short: "Print the last records of an audit log",
		Long: `Print the last records of the audit log at PATH, one a line, and with --follow
those that come, until it is interrupted. It follows the log into the next file
when it is rotated.

A claim that is not to be shown stands there as "#" and the first digits of its
keyed hash. -o json prints the lines as they are.`,
		Example: `  jotsmith audit tail /var/log/jotsmith/audit.jsonl
  jotsmith audit tail audit.jsonl -n 100 -o json | jq .caller
  jotsmith audit tail audit.jsonl --follow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := auditFormat(output); err != nil {
				return err
			}
			if lines < 0 {
				return fail(exitUsage, errors.New("--lines is not negative"))
			}
			poll := time.Duration(0)
			if follow {
				poll = auditPoll
			}
			w := cmd.OutOrStdout()
			show := func(r audit.Record, line []byte) error { return printRecord(w, r) }
			if output == "json" {
				show = func(_ audit.Record, line []byte) error {
					_, err := w.Write(line)
					return err
				}
			}
			err := audit.Tail(cmd.Context(), args[0], lines, poll, show)
			if errors.Is(err, fs.ErrNotExist) {
				return fail(exitUsage, err)
			}
			return fail(exitFailure, err)
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 10, "how many records")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the records that come")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func printRecord(w io.Writer, r audit.Record) error {
	if r.Seq == 0 {
		_, err := fmt.Fprintln(w, "! not a record; look with: jotsmith audit verify")
		return err
	}
	_, err := fmt.Fprintf(w, "%s %6d %-10s %s\n", auditTime(r.Time), r.Seq, r.Type, strings.Join(recordWords(r), " "))
	return err
}

// recordWords are the facts of a record, each as name=value.
func recordWords(r audit.Record) []string {
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+"="+auditWord(value))
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			words = append(words, name+"="+strconv.FormatInt(value, 10))
		}
	}
	number("intent", int64(r.Intent))
	add("outcome", r.Outcome)
	add("reason", r.Reason)
	add("method", r.Method)
	add("caller", r.Caller)
	add("proof", r.Proof)
	add("grant", r.Grant)
	add("profile", r.Profile)
	add("key", r.Key)
	add("target", r.Target)
	add("change", r.Change)
	add("kid", r.KID)
	add("jti", r.JTI)
	add("token", cut(r.Token, 16))
	if r.ExpireTime != 0 {
		add("exp", auditTime(time.Unix(r.ExpireTime, 0)))
	}
	if r.Reused {
		words = append(words, "reused")
	}
	if r.Forced {
		words = append(words, "forced")
	}
	add("why", r.Why)
	if r.TTL != 0 {
		add("ttl", span(time.Duration(r.TTL*float64(time.Second))))
	}
	for _, c := range r.Claims {
		value := "#" + cut(c.HMAC, 8)
		if c.Value != nil {
			value = auditWord(string(c.Value))
		}
		words = append(words, "claims."+auditWord(c.Name)+"="+value)
	}
	add("generation", r.Generation)
	add("from", r.From)
	add("sync", r.Sync)
	number("through", int64(r.Through))
	number("bytes", r.Bytes)
	add("kept", r.Kept)
	return words
}

// cut returns the beginning of a text.
func cut(text string, size int) string { return text[:min(size, len(text))] }

func auditTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// auditWord is a text as one word for a terminal: what a caller sent may have
// escape sequences in it.
func auditWord(text string) string {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return strconv.Quote(text)
		}
	}
	return text
}
