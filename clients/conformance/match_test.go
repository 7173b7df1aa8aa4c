package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
)

// match says how what came differs from what is expected, or "". An expected map
// has to be contained in what came, a list to be the same, and a text is one of
// these:
//
//	$present $absent    whether there is anything
//	=NAME !=NAME        the same as what is kept by that name, or another
//	/PATTERN/           a text that matches somewhere
//	>=N <=N             a number
//	anything else       itself
func match(expected, came any, kept map[string]answer) string {
	switch want := expected.(type) {
	case map[string]any:
		return matchMap(want, came, kept)
	case []any:
		got, ok := came.([]any)
		if !ok || len(got) != len(want) {
			return fmt.Sprintf("%v is not %v", came, want)
		}
		for i := range want {
			if wrong := match(want[i], got[i], kept); wrong != "" {
				return fmt.Sprintf("%d: %s", i, wrong)
			}
		}
		return ""
	case string:
		return matchText(want, came, kept)
	}
	if fmt.Sprint(expected) != fmt.Sprint(came) {
		return fmt.Sprintf("%v is not %v", came, expected)
	}
	return ""
}

func matchMap(want map[string]any, came any, kept map[string]answer) string {
	got, ok := came.(map[string]any)
	if !ok {
		return fmt.Sprintf("%v has no members", came)
	}
	for name, value := range want {
		if wrong := match(value, got[name], kept); wrong != "" {
			return name + ": " + wrong
		}
	}
	return ""
}

func matchText(want string, came any, kept map[string]answer) string {
	text := ""
	if came != nil {
		text = fmt.Sprint(came)
	}
	ok := text == want
	switch name, same := strings.CutPrefix(want, "="); {
	case want == "$present":
		ok = came != nil && text != ""
	case want == "$absent":
		ok = came == nil
	case same:
		ok = text == jwtOf(kept[name])
	case strings.HasPrefix(want, "!="):
		ok = text != "" && text != jwtOf(kept[want[2:]])
	case strings.HasPrefix(want, ">="), strings.HasPrefix(want, "<="):
		bound, err := strconv.ParseFloat(want[2:], 64)
		number, failed := strconv.ParseFloat(text, 64)
		ok = err == nil && failed == nil && (number == bound || number > bound == (want[0] == '>'))
	case len(want) > 1 && want[0] == '/' && want[len(want)-1] == '/':
		ok = regexp.MustCompile(want[1 : len(want)-1]).MatchString(text)
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("%.300q does not match %q", text, want)
}

// jwtOf is the token in an answer.
func jwtOf(a answer) string {
	text, _ := a["jwt"].(string)
	return text
}

// flat moves up what is in the one token or error of an answer, so that an
// expectation can name it.
func flat(a answer) answer {
	token, ok := a["token"].(map[string]any)
	if tokens, several := a["tokens"].([]any); several && len(tokens) > 0 {
		token, ok = tokens[0].(map[string]any)
	}
	if ok {
		maps.Copy(a, token)
	}
	return a
}

// contains says how the JSON object in a text differs from the members that are
// expected of it, whose numbers have to be spelt the same.
func contains(expected, text string) string {
	want, err := parse(expected)
	if err != nil {
		return err.Error()
	}
	got, err := parse(text)
	if err != nil {
		return err.Error()
	}
	return match(want, got, nil)
}

func parse(text string) (v any, err error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}
