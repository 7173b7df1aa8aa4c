package terminal

import (
	"strings"
	"testing"
	"unicode"
)

func TestTextHasNothingThatATerminalObeys(t *testing.T) {
	for text, want := range map[string]string{
		"plain text": "plain text", "two\nlines": "two\nlines", "": "",
		"\x1b]0;owned\x07": `\x1b]0;owned\a`, "\u202edrow": `\u202edrow`, "\u009b2J": `\u009b2J`, "a\tb\r": `a\tb\r`,
		"caf\u00e9": "caf\u00e9", "\xff": "\ufffd", "\x9b2J": "\ufffd2J",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q is printed as %q, want %q", text, got, want)
		}
	}
	if got := OneLine("two\n  lines\u2028of \x00"); got != `two lines\u2028of \x00` {
		t.Errorf("%q", got)
	}
	if got := Cells("caf\u00e9\n\u4e16 \x1b"); got != `caf? ? \x1b` {
		t.Errorf("%q", got)
	}
}

func FuzzCells(f *testing.F) {
	f.Add("\x1b[2J\u202e\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, b := range []byte(Cells(text)) {
			if b < ' ' || b > '~' {
				t.Fatalf("%q has %q", text, b)
			}
		}
		for _, r := range OneLine(text) {
			if !unicode.IsPrint(r) && r != unicode.ReplacementChar {
				t.Fatalf("%q has %q", text, r)
			}
		}
	})
}

// typed returns the keys among some bytes.
func typed(bytes string) string {
	var k keys
	var out strings.Builder
	for _, b := range []byte(bytes) {
		if key, ok := k.key(b); ok {
			out.WriteByte(key)
		}
	}
	return out.String()
}

func TestKeysAreWhatSomebodyTyped(t *testing.T) {
	for bytes, want := range map[string]string{
		"qsp": "qsp", "\x03": "\x03", "": "",
		"\x1b[A\x1b[Bq":         "q", // arrows
		"\x1bOPs":               "s", // F1
		"\x1b[15~\x1b[1;5Cp":    "p", // F5, Ctrl-Right
		"\x1bq":                 "q", // Escape, then q, which is what Alt-q sends too
		"\x1b\x1b[Aq":           "q",
		"\x1b[\x03":             "\x03", // it always gets through
		"\x1b[<35;10;20Mq\x1bO": "q",    // a mouse that nobody asked for
	} {
		if got := typed(bytes); got != want {
			t.Errorf("%q is %q, want %q", bytes, got, want)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("\x1b[Aq\x1bOPs\x03")
	f.Fuzz(func(t *testing.T, bytes string) {
		got := typed(bytes)
		if len(got) > len(bytes) || strings.ContainsRune(got, 0x1b) {
			t.Errorf("%q is %q", bytes, got)
		}
		// Whatever came before, a person who insists gets through.
		if again := typed(bytes + "~~qq"); !strings.HasSuffix(again, "q") {
			t.Errorf("%q is %q", bytes+"~~qq", again)
		}
	})
}
