package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// table is what is printed, for a terminal and for Markdown.
type table struct {
	title  string
	header []string
	rows   [][]string
}

// tables are the results.
func (b *benchmark) tables() []table {
	var tables []table
	for _, r := range b.rows {
		if len(tables) == 0 || tables[len(tables)-1].title != r.section {
			tables = append(tables, table{title: r.section, header: []string{"what", "per second", "CPU each", "compared to", "ratio", "target", "met"}})
		}
		last := &tables[len(tables)-1]
		last.rows = append(last.rows, b.cells(r))
	}
	for _, measured := range []struct {
		title    string
		measures []measure
	}{{stepsTitle, b.added}, {latencyTitle, b.latency}, {replicasTitle, b.replicas}, {watchersTitle, b.watched}} {
		if len(measured.measures) > 0 {
			tables = append(tables, measureTable(measured.title, measured.measures))
		}
	}
	if b.herd != nil {
		tables = append(tables, b.herd.table())
	}
	if len(b.strains) > 0 {
		tables = append(tables, strainTable(b.strains))
	}
	if b.small != nil {
		tables = append(tables, b.small.table())
	}
	if len(b.holdings) > 0 {
		memory := table{title: "Memory of the server, from outside", header: []string{"tokens minted", "resident", "threads"}}
		for _, h := range b.holdings {
			memory.rows = append(memory.rows, []string{fmt.Sprint(h.tokens), fmt.Sprintf("%.1f MiB", float64(h.rss)/(1<<20)), fmt.Sprint(h.threads)})
		}
		tables = append(tables, memory)
	}
	if len(b.held) > 0 {
		left := table{title: "Held before and after", header: []string{"by", "what", "before", "after", "met"}}
		for _, h := range b.held {
			left.rows = append(left.rows, []string{h.name, h.what, fmt.Sprint(h.before), fmt.Sprint(h.after), yesNo(h.after <= h.before)})
		}
		if len(b.holdings) > 1 {
			left.rows = append(left.rows, []string{"server", "memory, the last over the first", "1.00", fmt.Sprintf("%.2f", b.growth()), yesNo(b.growth() <= maxGrowth)})
		}
		tables = append(tables, left)
	}
	return tables
}

// maxGrowth is what counts as flat: the garbage collector alone moves the
// resident memory by some per cent.
const maxGrowth = 1.15

// cells are a row's texts.
func (b *benchmark) cells(r *row) []string {
	against, target, met, ratio := r.against, "", "", ""
	switch {
	case against == "":
		against = "SignASN1, CPU"
	case r.byCPU:
		against += ", CPU"
	default:
		against += ", rate"
	}
	if value, spread, ok := r.ratio(b.rows); ok {
		ratio = fmt.Sprintf("%.2f ± %.2f", value, spread)
		if r.bound != (bound{}) {
			target, met = r.bound.String(), yesNo(r.bound.met(value))
		}
	}
	return []string{r.name, fmt.Sprintf("%.0f", r.rate()), microseconds(r.each()), against, ratio, target, met}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func microseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}

// print writes the tables for a terminal.
func (b *benchmark) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", b.about())
	for _, t := range b.tables() {
		fmt.Fprintf(w, "\n%s\n", strings.ToUpper(t.title))
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(columns, strings.Join(t.header, "\t"))
		for _, cells := range t.rows {
			fmt.Fprintln(columns, strings.Join(cells, "\t"))
		}
		_ = columns.Flush() // the writer that was handed in keeps its own error
	}
	for _, note := range b.notes {
		fmt.Fprintf(w, "\nNot measured: %s\n", note)
	}
}

// about names the machine and what was done.
func (b *benchmark) about() string {
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s. Medians of %d samples of %s each, taken in turn.",
		processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel(), runtime.Version(), b.rounds, b.slice)
}

// What the results stand between in the document.
const (
	beginMark = "<!-- bench: begin -->"
	endMark   = "<!-- bench: end -->"
)

// writeMarkdown puts the tables between the marks of a document.
func (b *benchmark) writeMarkdown(path, picture string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, hasBegin := strings.Cut(string(text), beginMark)
	_, tail, hasEnd := strings.Cut(rest, endMark)
	if !hasBegin || !hasEnd {
		return fmt.Errorf("%s has no %s and %s", path, beginMark, endMark)
	}
	var out strings.Builder
	out.WriteString(head + beginMark + "\n\n" + b.about() + "\n")
	if picture != "" {
		out.WriteString("\n" + picture)
	}
	for _, t := range b.tables() {
		fmt.Fprintf(&out, "\n### %s\n\n", t.title)
		fmt.Fprintf(&out, "| %s |\n|%s\n", strings.Join(t.header, " | "), strings.Repeat("---|", len(t.header)))
		for _, cells := range t.rows {
			fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	for _, note := range b.notes {
		fmt.Fprintf(&out, "\nNot measured: %s\n", note)
	}
	out.WriteString("\n" + endMark + tail)
	return os.WriteFile(path, []byte(out.String()), 0o644) //nolint:gosec // a document for everybody
}
