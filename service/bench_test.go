package service_test

import (
	"testing"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// BenchmarkMintToken is the whole call over a Unix socket, both ends in this process:
// one caller, and as many as the stream workers have places for.
func BenchmarkMintToken(b *testing.B) {
	server := servicetest.Start(b, servicetest.Options{InProcess: true})
	tokens := server.Tokens(b)
	request := &jotsmithv1.MintTokenRequest{Profile: servicetest.Profiles()[0].Name, Claims: `{"sub":"user-1"}`}
	mint := func(b *testing.B) bool {
		resp, err := tokens.MintToken(b.Context(), request)
		if err != nil || resp.GetToken() == "" {
			b.Error("no token: ", err)
			return false
		}
		return true
	}
	b.Run("1 caller", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !mint(b) {
				return
			}
		}
	})
	b.Run("64 callers", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() && mint(b) {
			}
		})
	})
}
