package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// explainToken asks the server what it would mint and prints the answer.
func (f *tokenFlags) explainToken(ctx context.Context, tokens jotsmithv1.TokenServiceClient, req *jotsmithv1.MintTokenRequest, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	resp, err := tokens.ExplainToken(ctx, &jotsmithv1.ExplainTokenRequest{Request: req})
	if err != nil {
		return f.client.fault(err)
	}
	return explain(stdout, f.profile, resp, f.output == "json")
}

// explain prints what a request would get. The error of a refusal has the exit
// code that the request itself would end with.
func explain(w io.Writer, profile string, resp *jotsmithv1.ExplainTokenResponse, asJSON bool) error {
	var err error
	if asJSON {
		err = printProto(w, resp)
	} else {
		err = printExplanation(w, profile, resp)
	}
	if err != nil {
		return fail(exitFailure, err)
	}
	if refusals := resp.GetRefusals(); len(refusals) > 0 {
		code := codes.Code(uint32(refusals[0].GetCode())) // the code of a google.rpc.Status is one of gRPC's
		return fail(exitCodeOf(code), errors.New("refused: no token would be minted"))
	}
	return nil
}

// printExplanation says in words what a request would get.
func printExplanation(w io.Writer, profile string, resp *jotsmithv1.ExplainTokenResponse) error {
	p := &page{w: w}
	approved := resp.GetClaims() != ""
	p.line("profile     %s", profile)
	if resp.GetGrant() != "" {
		p.line("granted by  %s", resp.GetGrant())
	}
	switch {
	case len(resp.GetRefusals()) == 0:
		p.line("answer      a token would be minted%s", validFor(resp))
	case approved:
		p.line("answer      refused; nothing is wrong with the request")
	default:
		p.line("answer      refused")
	}
	if len(resp.GetRefusals()) > 0 {
		p.refusals(resp)
	}
	if resp.GetHeader() != "" { // its kid may not be known yet
		p.json("header", resp.GetHeader())
	}
	if approved {
		p.json("claims", resp.GetClaims())
	}
	decisions := make([]decision, len(resp.GetDecisions()))
	for i, d := range resp.GetDecisions() {
		decisions[i] = decision{d.GetName(), d.GetRule(), d.GetDoc(), d.GetPresent()}
	}
	p.decisions(decisions, nil, approved)
	p.list("limits and reuse", resp.GetLimits())
	return p.err
}

func validFor(resp *jotsmithv1.ExplainTokenResponse) string {
	if resp.GetTtl() == nil {
		return ""
	}
	return ", valid for " + span(resp.GetTtl().AsDuration())
}

// page prints sections with an empty line between them, and keeps the first
// error.
type page struct {
	w   io.Writer
	err error
}

// pageWidth is where text breaks. A word that is longer stays whole, so that it
// can be copied.
const pageWidth = 100

// noBreak is a blank where text does not break. JSON has no such character.
const noBreak = "\x00"

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// title begins a section.
func (p *page) title(text string) {
	p.line("\n%s:", text)
}

// row prints a name, and beside it text that breaks at blanks, aligned.
func (p *page) row(name string, width int, text string) {
	flush := func(line string) { p.line("%s", strings.ReplaceAll(line, noBreak, " ")) }
	indent := "  "
	if width > 0 {
		indent += strings.Repeat(" ", width) + "  "
	}
	line := fmt.Sprintf("  %-*s", width, name)
	if width > 0 {
		line += "  "
	}
	empty := true
	for word := range strings.SplitSeq(text, " ") {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > pageWidth {
			flush(line)
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	flush(line)
}

// list prints a section of facts, if there are any.
func (p *page) list(title string, facts []string) {
	if len(facts) == 0 {
		return
	}
	p.title(title)
	for _, fact := range facts {
		p.row("", 0, fact)
	}
}

// json prints a section with one JSON object.
func (p *page) json(title, value string) {
	text, err := indent(jsontext.Value(value))
	if err != nil {
		p.err = errors.Join(p.err, err)
		return
	}
	p.title(title)
	p.line("%s", text)
}

// yaml prints a section with a piece of YAML.
func (p *page) yaml(title, text string) {
	p.title(title)
	for line := range strings.Lines(text) {
		p.line("%s", strings.TrimRight("  "+line, " \n"))
	}
}

// refusals prints every reason and the field that it is about.
func (p *page) refusals(resp *jotsmithv1.ExplainTokenResponse) {
	for _, refusal := range resp.GetRefusals() {
		reason, retry, violations := refusal.GetMessage(), "", []*errdetails.BadRequest_FieldViolation(nil)
		for _, detail := range status.FromProto(refusal).Details() {
			switch d := detail.(type) {
			case *errdetails.ErrorInfo:
				reason = d.GetReason()
			case *errdetails.RetryInfo:
				retry = fmt.Sprintf(" (try again in %s)", d.GetRetryDelay().AsDuration().Round(time.Millisecond))
			case *errdetails.BadRequest:
				violations = d.GetFieldViolations()
			}
		}
		p.line("\nrefused: %s", reason)
		if len(violations) == 0 {
			p.row("", 0, refusal.GetMessage()+retry)
		}
		width := 0
		for _, v := range violations {
			width = max(width, len(v.GetField()))
		}
		for _, v := range violations {
			p.row(v.GetField(), width, v.GetDescription())
		}
	}
}

// decision says where one value comes from.
type decision struct {
	Name    string `json:"name"` // "header." goes ahead of a header parameter's name
	Rule    string `json:"rule"`
	Doc     string `json:"doc,omitzero"`
	Present bool   `json:"present"` // in the token, or in every token
}

// decisions prints the rules of the header and of the claims, then the sources
// and the further documents that demand them. Where a token is at hand, what it
// would not have is marked.
func (p *page) decisions(all []decision, sources []string, marked bool) {
	const header = "header."
	width := 0
	for _, d := range all {
		width = max(width, utf8.RuneCountInString(strings.TrimPrefix(d.Name, header)))
	}
	docs := slices.Clone(sources)
	number := map[string]int{} // of a document, counted from 1
	for i, doc := range docs {
		number[doc] = i + 1
	}
	section := ""
	for _, d := range all {
		name, isHeader := strings.CutPrefix(d.Name, header)
		title := "rules of the claims"
		if isHeader {
			title = "rules of the header"
		}
		if title != section {
			p.title(title)
			section = title
		}
		rule := d.Rule
		if marked && !d.Present && rule != "left out" && rule != "forbidden" {
			rule = "not in this token; " + rule
		}
		if d.Doc != "" {
			if number[d.Doc] == 0 {
				docs = append(docs, d.Doc)
				number[d.Doc] = len(docs)
			}
			rule += fmt.Sprintf(noBreak+"[%d]", number[d.Doc])
		}
		p.row(name, width, rule)
	}
	if len(docs) == 0 {
		return
	}
	p.title("documents")
	for i, doc := range docs {
		p.line("  [%d] %s", i+1, doc)
	}
}
