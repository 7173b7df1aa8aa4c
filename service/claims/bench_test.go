package claims

import (
	"testing"

	"github.com/jotsmith/jotsmith/service/policy"
)

// benchCase is a request as callers send it.
type benchCase struct {
	name   string
	grant  policy.Grant
	claims string
}

func benchCases(b *testing.B) (*Catalog, []benchCase) {
	b.Helper()
	return New([]Profile{jwt(), asc(), shared()}, nil), []benchCase{
		{"fixed", grantFor(b, "asc"), ""},
		{"scope", grantFor(b, "asc"), `{"scope":["GET /v1/apps?filter[platform]=IOS","GET /v1/builds"]}`},
		{"two", grantFor(b, "svc"), `{"sub":"user-123","level":3}`},
		{"four", grantFor(b, "svc"), `{"sub":"user-123","level":3,"admin":false,"roles":["reader","writer"]}`},
		{"shared", grantFor(b, "push"), ""},
	}
}

func BenchmarkBuild(b *testing.B) {
	catalog, cases := benchCases(b)
	for _, bb := range append(cases, benchCase{"refused", grantFor(b, "asc"), `{"iss":"x"}`}) {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			at := now()
			for b.Loop() {
				_, _ = catalog.Build(bb.grant, Request{Claims: bb.claims}, at)
			}
		})
	}
}

// What a request costs that is served with a token that is kept.
func BenchmarkPrepareAndIdentity(b *testing.B) {
	catalog, cases := benchCases(b)
	for _, bb := range cases {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				draft, err := catalog.Prepare(bb.grant, Request{Claims: bb.claims})
				if err != nil {
					b.Fatal(err)
				}
				_ = draft.Identity()
			}
		})
	}
}

func BenchmarkIdentity(b *testing.B) {
	catalog, cases := benchCases(b)
	for _, bb := range cases {
		draft, err := catalog.Prepare(bb.grant, Request{Claims: bb.claims})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = draft.Identity()
			}
		})
	}
}
