package claims

import (
	"testing"

	"github.com/jotsmith/jotsmith/service/policy"
)

func BenchmarkBuild(b *testing.B) {
	catalog := New([]Profile{jwt(), asc()}, nil)
	for _, bb := range []struct {
		name   string
		grant  policy.Grant
		claims string
	}{
		{"fixed", grantFor(b, "asc"), ""},
		{"caller", grantFor(b, "svc"), `{"sub":"user-123","level":3,"admin":false,"roles":["reader","writer"]}`},
		{"scope", grantFor(b, "asc"), `{"scope":["GET /v1/apps?filter[platform]=IOS","GET /v1/builds"]}`},
		{"refused", grantFor(b, "asc"), `{"iss":"x"}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			at := now()
			for b.Loop() {
				_, _ = catalog.Build(bb.grant, Request{Claims: bb.claims}, at)
			}
		})
	}
}
