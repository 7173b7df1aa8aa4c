package reuse

import (
	"fmt"
	"testing"
)

func TestHoldersAreKnownByAllThatTheyAre(t *testing.T) {
	h := &Holders{most: maxHolders}
	h.Add(Holder{"a", "g", "1"})
	for who, want := range map[Holder]bool{
		{"a", "g", "1"}: true, {"b", "g", "1"}: false, {"a", "h", "1"}: false, {"a", "g", "2"}: false,
	} {
		if got := h.Has(who); got != want {
			t.Errorf("%v: %t", who, got)
		}
	}
}

func TestHoldersAreBounded(t *testing.T) {
	h := &Holders{most: maxHolders}
	for i := range 3 * maxHolders {
		h.Add(Holder{Caller: fmt.Sprint(i)})
	}
	if len(h.known) != maxHolders || !h.Has(Holder{Caller: "0"}) || h.Has(Holder{Caller: fmt.Sprint(maxHolders)}) {
		t.Errorf("%d are known", len(h.known))
	}
}

func TestNobodyHoldsATokenThatIsNotKept(t *testing.T) {
	var h *Holders
	h.Add(Holder{Caller: "a"})
	if h.Has(Holder{Caller: "a"}) {
		t.Error("somebody does")
	}
}
