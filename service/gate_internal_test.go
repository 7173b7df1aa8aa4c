package service

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jotsmith/jotsmith/service/quota"
)

const mintMethod = "/jotsmith.v1.TokenService/MintToken"

// through sends one call to a method through the gate.
func through(ctx context.Context, g *gate, method string, handler grpc.UnaryHandler) error {
	_, err := g.unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, handler)
	return err
}

func answered(context.Context, any) (any, error) { return nil, nil }

func TestGateRefusesOneCallTooManyAtOnce(t *testing.T) {
	g := newGate(2)
	err := through(t.Context(), g, mintMethod, func(ctx context.Context, _ any) (any, error) {
		return nil, through(ctx, g, mintMethod, func(ctx context.Context, _ any) (any, error) {
			if err := through(ctx, g, "/grpc.health.v1.Health/Check", answered); err != nil {
				t.Errorf("a health check: %v", err)
			}
			start := time.Now()
			third := through(ctx, g, mintMethod, answered)
			if took := time.Since(start); took > 50*time.Millisecond {
				t.Errorf("the refusal took %v", took)
			}
			return nil, third
		})
	})
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || reasonOf(st) != "OVERLOADED" || delayOf(st) != 100*time.Millisecond {
		t.Errorf("got %v", st)
	}
	if err := through(t.Context(), g, mintMethod, answered); err != nil || g.inside.Load() != 0 {
		t.Errorf("the next call: %v; %d are inside", err, g.inside.Load())
	}
}

func delayOf(st *status.Status) time.Duration {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

func TestGateGivesAPlaceBackAfterAPanicAndAnError(t *testing.T) {
	g := newGate(1)
	func() {
		defer func() { _ = recover() }()
		_ = through(t.Context(), g, mintMethod, func(context.Context, any) (any, error) { panic("x") })
	}()
	if err := through(t.Context(), g, mintMethod, func(context.Context, any) (any, error) { return nil, errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := through(t.Context(), g, mintMethod, answered); err != nil {
		t.Error(err)
	}
}

func TestGateWithoutABoundRefusesNobody(t *testing.T) {
	if err := through(t.Context(), newGate(0), mintMethod, answered); err != nil {
		t.Error(err)
	}
}

func TestExceededQuotaSaysWhenToComeAgain(t *testing.T) {
	st := toStatus(&quota.Exceeded{Rule: "secret-name", Wait: 1234 * time.Millisecond})
	if st.Code() != codes.ResourceExhausted || reasonOf(st) != "QUOTA_EXCEEDED" || delayOf(st) != 1234*time.Millisecond {
		t.Errorf("got %v", st)
	}
}

func BenchmarkGateRefuses(b *testing.B) {
	g := newGate(1)
	g.inside.Add(1)
	b.ReportAllocs()
	for b.Loop() {
		if through(b.Context(), g, mintMethod, answered) == nil {
			b.Fatal("passed")
		}
	}
}
