package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/service/audit"
)

// auditQuery are the flags of `jotsmith audit query`.
type auditQuery struct {
	profile, caller, grant, kid, outcome, jti string
	since, until, token, output               string

	from, to time.Time
	digest   string // of the token
}

func newAuditQuery() *cobra.Command {
	var q auditQuery
	cmd := &cobra.Command{
		Use:   "query PATH...",
		Short: "Find the records of tokens",
		Long: `Print what an audit log has of the tokens that fit every flag given: who asked for
what under which grant, and what came of it, one token a line. PATH are files of
the log, in any order, or a directory.

"--token -" reads a token from standard input, which keeps it out of the list of
processes, and finds its record by its digest.

An intent without a result has the outcome "unfinished": the server was killed
in between, or is at it. It says nothing about whether the log was changed;
"jotsmith audit verify" does.`,
		Example: `  jotsmith audit query /var/log/jotsmith/ --profile asc --since 24h
  jotsmith audit query audit.jsonl --outcome refused --since 2026-11-01 -o json
  jotsmith token --profile asc | jotsmith audit query audit.jsonl --token -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := q.check(cmd.InOrStdin(), time.Now()); err != nil {
				return err
			}
			return fail(exitFailure, q.run(cmd.Context(), args, cmd.OutOrStdout()))
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&q.profile, "profile", "p", "", "of this profile")
	flags.StringVar(&q.caller, "caller", "", "of this caller")
	flags.StringVar(&q.grant, "grant", "", "under this grant")
	flags.StringVar(&q.kid, "kid", "", "signed by the key with this kid")
	flags.StringVar(&q.outcome, "outcome", "", "minted, failed, refused or unfinished")
	flags.StringVar(&q.jti, "jti", "", "with this jti")
	flags.StringVar(&q.since, "since", "", "asked for at this time (RFC 3339), on this day or so long ago, or later")
	flags.StringVar(&q.until, "until", "", "asked for before this time, this day or so long ago")
	flags.StringVar(&q.token, "token", "", `"-": the token on standard input`)
	flags.StringVarP(&q.output, "output", "o", "text", "text, or json for one object a line")
	return cmd
}

const unfinished = "unfinished"

// check reads what the flags mean.
func (q *auditQuery) check(stdin io.Reader, now time.Time) error {
	if err := auditFormat(q.output); err != nil {
		return err
	}
	outcomes := []string{"", string(audit.Minted), string(audit.Failed), string(audit.Refused), unfinished}
	if !slices.Contains(outcomes, q.outcome) {
		return fail(exitUsage, fmt.Errorf("--outcome is minted, failed, refused or unfinished, not %q", q.outcome))
	}
	var err error
	if q.from, err = auditMoment("--since", q.since, now); err != nil {
		return err
	}
	if q.to, err = auditMoment("--until", q.until, now); err != nil {
		return err
	}
	switch q.token {
	case "":
	case "-":
		text, err := readToken("-", stdin)
		if err != nil {
			return fail(exitFailure, err)
		}
		if text == "" {
			return fail(exitUsage, errors.New("no token on standard input"))
		}
		digest := sha256.Sum256([]byte(text))
		q.digest = hex.EncodeToString(digest[:])
	default:
		return fail(exitUsage, errors.New("--token takes - alone, and the token from standard input: others can read a command line"))
	}
	return nil
}

// auditMoment reads a time, a day or how long ago; zero for nothing.
func auditMoment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	return time.Time{}, fail(exitUsage, fmt.Errorf("%s is a time as 2026-11-23T12:00:00Z, a day as 2026-11-23 or how long ago as 24h, not %q", flag, text))
}

// auditEntry is what the log has of one token.
type auditEntry struct {
	Seq        uint64                `json:"seq,omitzero"`        // of the intent, or of both
	ResultSeq  uint64                `json:"result_seq,omitzero"` // where it has a record of its own
	Time       time.Time             `json:"time"`
	Outcome    string                `json:"outcome"`
	Reason     string                `json:"reason,omitzero"`
	Method     string                `json:"method,omitzero"`
	Generation string                `json:"generation,omitzero"`
	Caller     string                `json:"caller,omitzero"`
	Proof      string                `json:"proof,omitzero"`
	Grant      string                `json:"grant,omitzero"`
	Profile    string                `json:"profile,omitzero"`
	Key        string                `json:"key,omitzero"`
	Claims     []audit.RecordedClaim `json:"claims,omitzero"`
	TTL        float64               `json:"ttl,omitzero"`
	KID        string                `json:"kid,omitzero"`
	JTI        string                `json:"jti,omitzero"`
	Token      string                `json:"token_sha256,omitzero"`
	IssueTime  int64                 `json:"iat,omitzero"`
	ExpireTime int64                 `json:"exp,omitzero"`
	Reused     bool                  `json:"reused,omitzero"`
}

// joinRecords makes one entry of an intent and its result.
func joinRecords(intent, result audit.Record) auditEntry {
	e := auditEntry{
		Seq: intent.Seq, ResultSeq: result.Seq, Time: intent.Time,
		Method: intent.Method, Generation: intent.Generation, Caller: intent.Caller, Proof: intent.Proof,
		Grant: intent.Grant, Profile: intent.Profile, Key: intent.Key, Claims: intent.Claims, TTL: intent.TTL,
		Outcome: result.Outcome, Reason: result.Reason, KID: result.KID, JTI: result.JTI, Token: result.Token,
		IssueTime: result.IssueTime, ExpireTime: result.ExpireTime, Reused: result.Reused,
	}
	if e.Seq == e.ResultSeq {
		e.ResultSeq = 0
	}
	if e.Time.IsZero() {
		e.Time = result.Time // its intent is in a file that was not given
	}
	if result.Seq == 0 {
		e.Outcome = unfinished
	}
	return e
}

func (q *auditQuery) fits(e auditEntry) bool {
	for _, pair := range [][2]string{
		{q.profile, e.Profile},
		{q.caller, e.Caller},
		{q.grant, e.Grant},
		{q.kid, e.KID},
		{q.outcome, e.Outcome},
		{q.jti, e.JTI},
		{q.digest, e.Token},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return (q.from.IsZero() || !e.Time.Before(q.from)) && (q.to.IsZero() || e.Time.Before(q.to))
}

// maxUnfinished is how many intents are remembered until their result comes:
// more than a server can have under way.
const maxUnfinished = 1 << 16

func (q *auditQuery) run(ctx context.Context, paths []string, w io.Writer) error {
	out := &auditTable{w: w, json: q.output == "json"}
	open := intents{records: map[uint64]audit.Record{}}
	for r, err := range audit.Records(ctx, paths) {
		if err != nil {
			return err
		}
		switch r.Type {
		case "intent":
			if oldest := open.add(r); oldest.Seq != 0 {
				err = q.show(out, joinRecords(oldest, audit.Record{}))
			}
		case "result":
			err = q.show(out, joinRecords(open.records[r.Intent], r))
			delete(open.records, r.Intent)
		case "note":
			err = q.show(out, joinRecords(r, r))
		}
		if err != nil {
			return err
		}
	}
	for _, r := range open.rest() {
		if err := q.show(out, joinRecords(r, audit.Record{})); err != nil {
			return err
		}
	}
	return out.flush()
}

// intents are those that wait for their result.
type intents struct {
	records map[uint64]audit.Record
	order   []uint64 // of their numbers, and of some that have their result
}

// add remembers an intent. Where they have become too many it returns the
// oldest and forgets it.
func (in *intents) add(r audit.Record) (oldest audit.Record) {
	in.records[r.Seq] = r
	in.order = append(in.order, r.Seq)
	if len(in.records) <= maxUnfinished && len(in.order) <= 2*maxUnfinished {
		return audit.Record{}
	}
	in.order = slices.DeleteFunc(in.order, func(seq uint64) bool { return in.records[seq].Seq == 0 })
	if len(in.records) <= maxUnfinished {
		return audit.Record{}
	}
	oldest = in.records[in.order[0]]
	delete(in.records, oldest.Seq)
	in.order = in.order[1:]
	return oldest
}

// rest returns those left, in their order.
func (in *intents) rest() []audit.Record {
	var left []audit.Record
	for _, seq := range in.order {
		if r, ok := in.records[seq]; ok {
			left = append(left, r)
		}
	}
	return left
}

func (q *auditQuery) show(out *auditTable, e auditEntry) error {
	if !q.fits(e) {
		return nil
	}
	return out.add(e)
}

// auditTable prints entries as they come: as JSON lines, or in a table of
// which it keeps so many rows to align them.
type auditTable struct {
	w    io.Writer
	json bool
	rows [][]string
}

const rowsAligned = 1000

func (t *auditTable) add(e auditEntry) error {
	if t.json {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = t.w.Write(append(line, '\n'))
		return err
	}
	if len(t.rows) == 0 {
		t.rows = append(t.rows, []string{"TIME", "SEQ", "OUTCOME", "CALLER", "GRANT", "PROFILE", "KID", "JTI", "EXPIRES", "REASON"})
	}
	expires, outcome := "", e.Outcome
	if e.ExpireTime != 0 {
		expires = auditTime(time.Unix(e.ExpireTime, 0))
	}
	if e.Reused {
		outcome += ", reused"
	}
	seq := e.Seq
	if seq == 0 {
		seq = e.ResultSeq
	}
	row := []string{auditTime(e.Time), strconv.FormatUint(seq, 10), outcome}
	for _, cell := range []string{e.Caller, e.Grant, e.Profile, e.KID, e.JTI, expires, e.Reason} {
		if cell == "" {
			cell = "-"
		}
		row = append(row, auditWord(cell))
	}
	if t.rows = append(t.rows, row); len(t.rows) > rowsAligned {
		return t.flush()
	}
	return nil
}

func (t *auditTable) flush() error {
	if t.json || len(t.rows) == 0 {
		return nil
	}
	rows := t.rows
	t.rows = nil
	return printTable(t.w, rows)
}
