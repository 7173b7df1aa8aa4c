package terminal

import (
	"strconv"
	"strings"
	"unicode"
)

// Printable is text without what a terminal would obey: who wrote it may be a
// caller, or a key store. Lines stay lines.
func Printable(text string) string {
	text = strings.ToValidUTF8(text, string(unicode.ReplacementChar)) // an old terminal obeys single bytes, too
	if !strings.ContainsFunc(text, obeyed) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if obeyed(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// obeyed says whether a terminal may do something else with a character than
// show it.
func obeyed(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// OneLine is printable text on one line.
func OneLine(text string) string { return strings.Join(strings.Fields(Printable(text)), " ") }

// Cells is text on one line of which each byte takes one cell: what is not ASCII
// is a question mark.
func Cells(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, OneLine(text))
}
