package main

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/service/audit"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Look at the audit log",
		Example: `  jotsmith audit verify /var/log/jotsmith/ --key audit.pem
  jotsmith audit tail /var/log/jotsmith/audit.jsonl --follow
  jotsmith token --profile asc | jotsmith audit query /var/log/jotsmith/ --token -`,
	}
	group(cmd, newAuditVerify(), newAuditTail(), newAuditQuery())
	return cmd
}

// auditFormat refuses an --output that is none.
func auditFormat(output string) error {
	if output != "text" && output != "json" {
		return fail(exitUsage, fmt.Errorf("--output is text or json, not %q", output))
	}
	return nil
}

func newAuditVerify() *cobra.Command {
	var keyFile, output string
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Follow the chain of an audit log, and say where it is broken",
		Long: `Read the files of an audit log, in any order, or all in a directory, and follow
the chain through them. The first record that was changed, is missing, stands in
another place or stands there twice ends the command with 8 and is named with
its file and line; so does a gap between two files and half a record at the end.

With --key FILE (a PEM public key or certificate, a JWK or a JWK Set) the
signatures of the checkpoints are verified too, and a log without any does not
verify. What stands behind the last checkpoint is vouched for by nobody: who can
write the file could cut it off without a trace.

It may run while the server writes, and needs a few MiB for a log of any size.`,
		Example: `  jotsmith audit verify /var/log/jotsmith/
  jotsmith audit verify audit.jsonl audit.1-70000.jsonl --key audit.pem`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := auditFormat(output); err != nil {
				return err
			}
			keys, err := checkpointKeys(keyFile)
			if err != nil {
				return err
			}
			r, err := audit.Verify(cmd.Context(), args, keys...)
			if _, ok := errors.AsType[*audit.Fault](err); ok {
				return fail(exitUnverified, fmt.Errorf("the audit log does not verify: %w", err))
			}
			if err != nil {
				return fail(exitFailure, err)
			}
			if output == "json" {
				return fail(exitFailure, printJSON(cmd.OutOrStdout(), r))
			}
			return fail(exitFailure, printReport(cmd.OutOrStdout(), r))
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "verify checkpoints with the public keys in this file: PEM, JWK or JWK Set")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// checkpointKeys reads the P-256 keys of a file; none for no file.
func checkpointKeys(path string) ([]audit.Key, error) {
	if path == "" {
		return nil, nil
	}
	set, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	var keys []audit.Key
	for _, key := range set.Keys {
		if public, ok := key.Key.(*ecdsa.PublicKey); ok && public.Params().BitSize == 256 {
			keys = append(keys, audit.Key{KID: key.KeyID, Public: public})
		}
	}
	if len(keys) == 0 {
		return nil, fail(exitUsage, fmt.Errorf("%s has no P-256 public key", path))
	}
	return keys, nil
}

// printReport says what a log without fault has, and what nobody vouches for.
func printReport(w io.Writer, r audit.Report) error {
	if r.Records == 0 {
		_, err := fmt.Fprintln(w, "ok: the log is empty")
		return err
	}
	_, _ = fmt.Fprintf(w, "ok: records %d to %d, from %s to %s, files: %d\n",
		r.First, r.Last, auditTime(r.FirstTime), auditTime(r.LastTime), r.Files)
	_, _ = fmt.Fprintf(w, "last hash    %s\n", r.LastHash)
	if r.First > 1 {
		_, _ = fmt.Fprintf(w, "before it    records 1 to %d, which were not given (%s)\n", r.First-1, auditWord(r.From))
	}
	if r.Recovered > 0 {
		_, _ = fmt.Fprintf(w, "recovered    %d times, after a crash\n", r.Recovered)
	}
	checked := "not checked; give --key FILE"
	if r.Signatures {
		checked = "each verified with the key"
	}
	_, err := fmt.Fprintf(w, "checkpoints  %d, signatures %s\n", r.Checkpoints, checked)
	if behind := min(r.Last-r.Through, r.Records); behind > 0 {
		_, err = fmt.Fprintf(w, "unsigned     the last %d records, and whether more followed them: no checkpoint vouches for that\n", behind)
	}
	return err
}
