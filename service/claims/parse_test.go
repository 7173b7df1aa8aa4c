package claims

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/google/go-cmp/cmp"
)

// secret stands in every refused text where a value can; no error may hold it.
const secret = "hunter2"

type refusedText struct {
	name, text string
	want       string // the whole error
}

func refusedTexts() []refusedText {
	const (
		duplicate = "a name stands twice in one object"
		unsafeInt = "an integer is beyond 2^53-1 and would be read differently by different readers; send it as a string"
		tooLong   = "longer than 32768 bytes"
		tooDeep   = "deeper than 16 levels"
		tooEarly  = "not valid JSON: it ends too early"
	)
	return []refusedText{
		{"duplicate name", `{"a":"hunter2","a":1}`, duplicate},
		{"duplicate name, one escaped", `{"a":"hunter2","\u0061":1}`, duplicate},
		{"duplicate name, both escaped differently", `{"\u002fa":1,"\/a":2}`, duplicate},
		{"duplicate name in an object", `{"a":{"b":"hunter2","b":2}}`, duplicate},
		{"duplicate name in an object in an array", `{"a":["x",{"b":1,"\u0062":2}]}`, duplicate},
		{"duplicate name ten levels down", strings.Repeat(`{"a":`, 10) + `{"b":1,"b":2}` + strings.Repeat("}", 10), duplicate},
		{"duplicate empty name", `{"":1,"":2}`, duplicate},
		{"duplicate name beyond the basic plane", `{"` + "\U0001F600" + `":1,"\ud83d\ude00":2}`, duplicate},

		{"objects 10,000 deep", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), tooLong},
		{"arrays 10,000 deep", `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", tooDeep},
		{"arrays 10,000 deep, never closed", `{"a":` + strings.Repeat("[", 10_000), tooDeep},
		{"17 levels", `{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + "}", tooDeep},
		{"a million names", manyNames(1_000_000), tooLong},
		{"257 names", manyNames(257), "more than 256 names"},
		{"a number of 100 MB", `{"a":` + strings.Repeat("7", 100<<20) + "}", tooLong},
		{"a number of 32 KB", `{"a":` + strings.Repeat("7", 32_000) + "}", unsafeInt},
		{"a fraction of 32 KB", `{"a":1.` + strings.Repeat("7", 32_000) + "e999}", "a number is too large"},
		{"one byte too long", `{"a":"` + strings.Repeat("x", MaxBytes-7) + `"}`, tooLong},

		{"1e999", `{"a":1e999}`, "a number is too large"},
		{"-1e999", `{"a":-1e999}`, "a number is too large"},
		{"1e999 in an array", `{"a":["hunter2",1e999]}`, "a number is too large"},
		{"2^53", `{"a":9007199254740992}`, unsafeInt},
		{"2^53+1", `{"a":9007199254740993}`, unsafeInt},
		{"-2^53", `{"a":-9007199254740992}`, unsafeInt},
		{"2^53+1 in an object", `{"a":{"b":[9007199254740993]}}`, unsafeInt},
		{"leading zero", `{"a":01}`, "not valid JSON at byte 6"},
		{"leading plus", `{"a":+1}`, "not valid JSON at byte 5"},
		{"hexadecimal", `{"a":0x1}`, "not valid JSON at byte 6"},
		{"NaN", `{"a":NaN}`, "not valid JSON at byte 5"},

		{"lone high surrogate", `{"a":"hunter2\ud800"}`, "not valid JSON at byte 13"},
		{"lone low surrogate", `{"a":"\udc00hunter2"}`, "not valid JSON at byte 6"},
		{"swapped surrogates", `{"a":"\udc00\ud800"}`, "not valid JSON at byte 6"},
		{"lone surrogate in a name", `{"\ud800":1}`, "not valid JSON at byte 2"},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", "not valid JSON at byte 6"},
		{"invalid UTF-8 in a name", "{\"a\xff\":1}", "not valid JSON at byte 3"},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", "not valid JSON at byte 6"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "not valid JSON at byte 6"},
		{"raw NUL in a string", "{\"a\":\"\x00\"}", "not valid JSON at byte 6"},
		{"raw line feed in a string", "{\"a\":\"\n\"}", "not valid JSON at byte 6"},
		{"byte order mark", "\ufeff{}", "not valid JSON at byte 0"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "not valid JSON at byte 0"},

		{"trailing bytes", `{"a":1}hunter2`, "something follows the JSON object"},
		{"trailing brace", `{}}`, "something follows the JSON object"},
		{"trailing NUL", "{}\x00", "something follows the JSON object"},
		{"two values", `{"a":1} {"a":2}`, "something follows the JSON object"},
		{"line comment", "{\"a\":1 // hunter2\n}", "not valid JSON at byte 7"},
		{"block comment", `{/* hunter2 */"a":1}`, "not valid JSON at byte 1"},
		{"comment behind", `{} // hunter2`, "something follows the JSON object"},
		{"trailing comma", `{"a":1,}`, "not valid JSON at byte 6"},
		{"single quotes", `{'a':1}`, "not valid JSON at byte 1"},
		{"name without quotes", `{a:1}`, "not valid JSON at byte 1"},
		{"no colon", `{"a" 1}`, "not valid JSON at byte 5"},

		{"null", "null", "not a JSON object"},
		{"array", "[]", "not a JSON object"},
		{"array of an object", "[{}]", "not a JSON object"},
		{"string", `"hunter2"`, "not a JSON object"},
		{"string of an object", `"{}"`, "not a JSON object"},
		{"number", "7", "not a JSON object"},
		{"a word", "hunter2", "not valid JSON at byte 0"},
		{"blanks alone", " \n", tooEarly},
		{"an opening brace", "{", tooEarly},
		{"cut in a name", `{"hunter2`, tooEarly},
		{"cut in a string", `{"a":"hunter2`, tooEarly},
		{"cut in an array", `{"a":["hunter2"`, tooEarly},
		{"cut in an object", `{"a":{"hunter2":1`, tooEarly},
		{"wrong closing bracket", `{"a":["hunter2"}`, "not valid JSON at byte 15"},
	}
}

func manyNames(n int) string {
	b := []byte{'{'}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendInt(append(b, '"'), int64(i), 10), `":1`...)
	}
	return string(append(b, '}'))
}

func TestParseRefusesWithin5msAnd1MiB(t *testing.T) {
	for _, tt := range refusedTexts() {
		t.Run(tt.name, func(t *testing.T) {
			members, err := parse(tt.text)
			if err == nil {
				t.Fatalf("accepted as %v", members)
			}
			if err.Error() != tt.want {
				t.Errorf("error %q, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error repeats the caller's value: %v", err)
			}
			if took := fastest(20, func() { _, _ = parse(tt.text) }); took >= 5*time.Millisecond {
				t.Errorf("refused after %v", took)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = parse(tt.text)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("refused with %d bytes allocated", used)
			}
		})
	}
}

// fastest returns the shortest of several runs: what the machine does beside
// them does not count.
func fastest(runs int, f func()) time.Duration {
	best := time.Hour
	for range runs {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	return best
}

func TestParseAccepts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []member
	}{
		{"nothing", "", nil},
		{"the empty object", "{}", nil},
		{"blanks", " \t\r\n{ } \n", nil},
		{"a string", `{"a":"b"}`, []member{{"a", value{kind: kindString, text: "b"}}}},
		{"escapes", `{"\u0061":"\ud83d\ude00\n"}`, []member{{"a", value{kind: kindString, text: "\U0001F600\n"}}}},
		{"the greatest integer", `{"a":9007199254740991}`, []member{{"a", value{kind: kindInteger, integer: 9007199254740991}}}},
		{"the least integer", `{"a":-9007199254740991}`, []member{{"a", value{kind: kindInteger, integer: -9007199254740991}}}},
		{"minus zero", `{"a":-0}`, []member{{"a", value{kind: kindInteger}}}},
		{"a fraction", `{"a":1.0}`, []member{{"a", value{kind: kindNumber}}}},
		{"an exponent", `{"a":1e3}`, []member{{"a", value{kind: kindNumber}}}},
		{"booleans", `{"a":true,"b":false}`, []member{{"a", value{kind: kindBool, boolean: true}}, {"b", value{kind: kindBool}}}},
		{"null", `{"a":null}`, []member{{"a", value{kind: kindNull}}}},
		{"a list", `{"a":["b","c"]}`, []member{{"a", value{kind: kindList, list: []string{"b", "c"}}}}},
		{"an empty list", `{"a":[]}`, []member{{"a", value{kind: kindList, list: []string{}}}}},
		{"a mixed array", `{"a":["b",1,[{}]],"c":1}`, []member{{"a", value{kind: kindArray}}, {"c", value{kind: kindInteger, integer: 1}}}},
		{"an object", `{"a":{"b":{"b":[1]}},"c":1}`, []member{{"a", value{kind: kindObject}}, {"c", value{kind: kindInteger, integer: 1}}}},
		{"the same name in two objects", `{"a":{"b":1},"c":{"b":1}}`, []member{{"a", value{kind: kindObject}}, {"c", value{kind: kindObject}}}},
		{"names that differ in case", `{"iss":"a","ISS":"b"}`, []member{{"iss", value{kind: kindString, text: "a"}}, {"ISS", value{kind: kindString, text: "b"}}}},
		{"16 levels", `{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + "}", []member{{"a", value{kind: kindArray}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(member{}, value{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseAcceptsTheLongestText(t *testing.T) {
	text := `{"a":"` + strings.Repeat("x", MaxBytes-8) + `"}`
	if len(text) != MaxBytes {
		t.Fatal(len(text))
	}
	if _, err := parse(text); err != nil {
		t.Error(err)
	}
}

func TestParseAccepts256Names(t *testing.T) {
	members, err := parse(manyNames(256))
	if err != nil || len(members) != 256 {
		t.Errorf("%d names, %v", len(members), err)
	}
}

// Whatever is accepted, two other decoders read it the same way: the standard
// library's and the one that go-jose's verifiers use.
func FuzzParse(f *testing.F) {
	for _, tt := range refusedTexts() {
		if len(tt.text) < 1000 {
			f.Add(tt.text)
		}
	}
	f.Add("")
	f.Add(`{"iss":"a","n":-0,"l":["a","b"],"o":{"x":[1.5e3,null]},"t":true}`)
	f.Add(`{"\ud83d\ude00":"\u0000\u2028"}`)
	f.Fuzz(func(t *testing.T, text string) {
		members, err := parse(text)
		if err != nil {
			return
		}
		if text == "" {
			text = "{}"
		}
		ours := map[string]any{}
		for _, m := range members {
			ours[m.name] = m.value.plain()
		}
		if len(ours) != len(members) {
			t.Fatal("a name stands twice")
		}

		std := map[string]any{}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&std); err != nil {
			t.Fatalf("encoding/json refuses: %v", err)
		}
		if diff := cmp.Diff(kindsOnly(std), ours); diff != "" {
			t.Errorf("encoding/json reads (-) otherwise: %s", diff)
		}

		jose := map[string]any{}
		josedec := josejson.NewDecoder(strings.NewReader(text))
		josedec.SetNumberType(josejson.UnmarshalJSONNumber)
		if err := josedec.Decode(&jose); err != nil {
			t.Fatalf("go-jose refuses: %v", err)
		}
		if diff := cmp.Diff(kindsOnly(jose), ours); diff != "" {
			t.Errorf("go-jose reads (-) otherwise: %s", diff)
		}
	})
}

// plain is the value as kindsOnly gives it.
func (v value) plain() any {
	switch v.kind {
	case kindString:
		return v.text
	case kindInteger:
		return v.integer
	case kindBool:
		return v.boolean
	case kindList:
		return v.list
	default:
		return v.kind
	}
}

// kindsOnly brings a decoder's values to the form of plain.
func kindsOnly(decoded map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range decoded {
		out[name] = v
		switch v := v.(type) {
		case json.Number:
			out[name] = numberOf(string(v))
		case josejson.Number:
			out[name] = numberOf(string(v))
		case nil:
			out[name] = kindNull
		case map[string]any:
			out[name] = kindObject
		case []any:
			list := []string{}
			for _, item := range v {
				if s, ok := item.(string); ok {
					list = append(list, s)
				}
			}
			if out[name] = list; len(list) != len(v) {
				out[name] = kindArray
			}
		}
	}
	return out
}

func numberOf(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return kindNumber
}
