package main

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// What a caller or a key store says must not command the operator's terminal.
func TestStatusHasNothingThatATerminalObeys(t *testing.T) {
	evil := "\x1b]0;owned\x07\x1b[2J\u202edrow\r\nNEXT\u009b31m\x00"
	now := timestamppb.New(time.Unix(0, 0))
	var text strings.Builder
	writeStatus(&text, &jotsmithv1.StatusResponse{
		ReloadError: evil,
		Keys: []*jotsmithv1.KeyStatus{{Name: "k", Kid: "kid", Backend: "b", Reason: "BACKEND_UNAVAILABLE", Error: evil}, {
			Name: "l", Members: []*jotsmithv1.MemberStatus{{Backend: "b", Error: evil}, {Backend: "c", Healthy: true, First: true}},
		}},
		Backends: []*jotsmithv1.BackendStatus{{Name: "b", LastReason: "X", LastError: evil, LastErrorTime: now}},
		Callers:  []*jotsmithv1.CallerStatus{{Name: evil, Minted: 1}},
		Disabled: []*jotsmithv1.Disabled{{Target: &jotsmithv1.Target{Target: &jotsmithv1.Target_Caller{Caller: evil}}, Reason: evil, By: evil, Time: now}},
		Errors:   []*jotsmithv1.RecentError{{Method: "MintToken", Reason: "NOT_GRANTED", Caller: evil, Profile: evil, Error: evil, Time: now}},
	})
	for _, r := range text.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q in:\n%s", r, text.String())
		}
	}
	if !strings.Contains(text.String(), `\x1b[2J`) {
		t.Errorf("what was said is lost:\n%s", text.String())
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "NEXT") {
			t.Errorf("a text made a line of its own:\n%s", text.String())
		}
	}
}

func TestStatusShowsOnlyThoseWhoGotMost(t *testing.T) {
	resp := &jotsmithv1.StatusResponse{Serving: true}
	for range 25 {
		resp.Callers = append(resp.Callers, &jotsmithv1.CallerStatus{Name: "c", Minted: 1})
	}
	for i := range 12 {
		resp.Profiles = append(resp.Profiles, &jotsmithv1.ProfileStatus{Name: "p" + string(rune('a'+i)), Minted: int64(i)})
	}
	var text strings.Builder
	writeStatus(&text, resp)
	if got := text.String(); strings.Count(got, "\nc ") != mostShown || !strings.Contains(got, "and 15 more") ||
		!strings.Contains(got, "and 2 more") || strings.Index(got, "\npl ") > strings.Index(got, "\npk ") || strings.Contains(got, "\npb ") {
		t.Error(got)
	}
}
