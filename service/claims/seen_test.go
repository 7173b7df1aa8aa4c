package claims

import (
	"fmt"
	"strings"
	"testing"
)

// reusable is the profile of jwt() whose tokens serve again.
func reusable() Profile {
	p := jwt()
	p.Reuse.Mode = UntilRefresh
	return p
}

func TestApprovedTextIsApprovedAgainWithTheSameOutcome(t *testing.T) {
	catalog := New([]Profile{reusable()}, nil)
	grant := grantFor(t, "svc")
	for _, text := range []string{`{"sub":"a"}`, ` {"sub" : "\u0061"}`, `{"sub":"b"}`} {
		first, err := catalog.Prepare(grant, Request{Claims: text})
		if err != nil {
			t.Fatal(err)
		}
		again, err := catalog.Prepare(grant, Request{Claims: text})
		if err != nil || again.Identity() != first.Identity() {
			t.Errorf("%s: %v, another identity", text, err)
		}
	}
	if n := catalog.seen.EstimatedSize(); n != 3 {
		t.Errorf("%d texts are kept", n)
	}
}

func TestRefusedTextIsRefusedAgain(t *testing.T) {
	catalog := New([]Profile{reusable()}, nil)
	grant := grantFor(t, "svc")
	for _, text := range []string{`{"sub":7}`, `{"sub":"a","sub":"a"}`, `{"sub":"a","x":1}`, `{}`, `{`} {
		_, first := catalog.Prepare(grant, Request{Claims: text})
		_, again := catalog.Prepare(grant, Request{Claims: text})
		if first == nil || again == nil || first.Error() != again.Error() {
			t.Errorf("%s: %v, then %v", text, first, again)
		}
	}
	ttl := 1000 * reusable().MaxTTL
	for range 2 { // the text is fine, the ttl is not
		if _, err := catalog.Prepare(grant, Request{Claims: `{"sub":"a"}`, TTL: &ttl}); err == nil {
			t.Error("a ttl over the limit was approved")
		}
	}
}

func TestTextApprovedByOneProfileIsNotApprovedForAnother(t *testing.T) {
	lax, strict := reusable(), reusable()
	strict.Name = "strict"
	strict.Rules = map[string]Rule{"iat": {Computed: IssueTime}, "exp": {Computed: ExpireTime}}
	catalog := New([]Profile{lax, strict}, nil)
	if _, err := catalog.Prepare(grantFor(t, "svc"), Request{Claims: `{"sub":"a"}`}); err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Prepare(grantFor(t, "strict"), Request{Claims: `{"sub":"a"}`}); err == nil {
		t.Error("the other profile's approval counted")
	}
}

func TestApprovedTextsAreBoundedAndOneTimeOnesAreNotKept(t *testing.T) {
	catalog := New([]Profile{reusable()}, nil)
	never := jwt()
	never.Reuse.Mode = Never
	oneTime := New([]Profile{never}, nil)
	grant := grantFor(t, "svc")
	filler := strings.Repeat("x", 40)
	for i := range 20_000 {
		req := Request{Claims: fmt.Sprintf(`{"sub":"%s-%d"}`, filler, i)}
		if _, err := catalog.Prepare(grant, req); err != nil {
			t.Fatal(err)
		}
		if i > 100 {
			continue
		}
		if _, err := oneTime.Prepare(grant, req); err != nil {
			t.Fatal(err)
		}
	}
	if weight := catalog.seen.WeightedSize(); weight > seenBytes || weight < seenBytes/2 {
		t.Errorf("%d bytes are kept", weight)
	}
	if n := oneTime.seen.EstimatedSize(); n != 0 {
		t.Errorf("%d texts for one use are kept", n)
	}
}
