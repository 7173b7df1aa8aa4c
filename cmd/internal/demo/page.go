package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// page writes what the demo shows: a line for each step, in columns. A terminal
// gets the titles in bold and the names dimmed, unless NO_COLOR is set.
type page struct {
	w                 io.Writer
	bold, dim, normal string
}

func newPage(f *os.File) *page {
	p := &page{w: f}
	info, err := f.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.bold, p.dim, p.normal = "\x1b[1m", "\x1b[2m", "\x1b[0m"
	}
	return p
}

func (p *page) title(text string) {
	fmt.Fprintf(p.w, "\n%s%s%s\n\n", p.bold, text, p.normal)
}

func (p *page) fact(name, format string, args ...any) {
	fmt.Fprintf(p.w, "  %s%-9s%s %s\n", p.dim, name, p.normal, fmt.Sprintf(format, args...))
}

// json writes a JSON value as a fact of several lines.
func (p *page) json(name string, value json.RawMessage) {
	var text bytes.Buffer
	if err := json.Indent(&text, value, "            ", "  "); err != nil {
		text.Reset()
		text.Write(value)
	}
	p.fact(name, "%s", text.String())
}
