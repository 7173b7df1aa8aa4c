package backendtest

import (
	"context"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

func TestFakeKeepsTheContract(t *testing.T) {
	keys := NewFake(t, "a", "b")
	// Every open Fake has the same keys, as every connection to one store has.
	var open []*Fake
	Run(t, Harness{
		Open: func(*testing.T) backends.KeyBackend {
			f := &Fake{keys: keys.keys}
			open = append(open, f)
			return f
		},
		Keys:    [2]Key{{"a", keys.Public("a")}, {"b", keys.Public("b")}},
		Unknown: "c",
		Outage: func(*testing.T) func() {
			for _, f := range open {
				f.Fail(func(_ context.Context, op, id string) error {
					return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
				})
			}
			return func() {
				for _, f := range open {
					f.Fail(nil)
				}
			}
		},
		Deviations: map[Case]string{
			Disabled:   "a fault that is told to say so is no state of a key",
			WrongCurve: "all keys are made by NewFake",
		},
	})
}
