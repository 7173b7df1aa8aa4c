package main

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/genproto/googleapis/rpc/code"

	jotsmith "github.com/jotsmith/jotsmith/clients/go"
)

const goJOSE = "github.com/go-jose/go-jose/v4"

func hello() answer {
	build, _ := debug.ReadBuildInfo()
	verifier := goJOSE
	for _, module := range build.Deps {
		if module.Path == goJOSE {
			verifier = "go-jose " + module.Version
		}
	}
	return answer{"language": "Go", "library": build.Path + " " + build.Main.Version, "jose": []string{verifier}, "http": []string{"Transport"}, "grpc": []string{"PerRPCCredentials"}}
}

// shape is a token as the protocol has it.
func shape(t jotsmith.Token) answer {
	a := answer{"jwt": t.Reveal(), "kid": t.KID, "reused": t.Reused, "one_time": t.OneTime()}
	for name, at := range map[string]time.Time{"expire_time": t.ExpireTime, "refresh_time": t.RefreshTime} {
		if !at.IsZero() {
			a[name] = at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
		}
	}
	return a
}

func failure(err error) answer { return answer{"error": describe(err)} }

// describe is an error as the protocol has it.
func describe(err error) answer {
	e, ok := errors.AsType[*jotsmith.Error](err)
	if !ok {
		return answer{"native": "error", "message": err.Error()}
	}
	native := ""
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		native = "deadline"
	case errors.Is(err, context.Canceled):
		native = "cancelled"
	}
	violations := []answer{}
	for _, v := range e.Violations {
		violations = append(violations, answer{"field": v.Field, "description": v.Description})
	}
	return answer{
		"code": code.Code(e.Code).String(), "reason": e.Reason, "message": e.Message, "retryable": e.Retryable,
		"retry_after": e.RetryAfter.Milliseconds(), "violations": violations, "native": native,
	}
}

// verify is what go-jose finds in a token.
func verify(c *command) answer {
	var key jose.JSONWebKey
	if err := json.Unmarshal([]byte(c.JWK), &key); err != nil {
		return failure(err)
	}
	parsed, err := jose.ParseSignedCompact(c.JWT, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return failure(err)
	}
	payload, err := parsed.Verify(key)
	if err != nil {
		return failure(err)
	}
	protected := map[string]any{"alg": parsed.Signatures[0].Protected.Algorithm, "kid": parsed.Signatures[0].Protected.KeyID}
	for name, value := range parsed.Signatures[0].Protected.ExtraHeaders {
		protected[string(name)] = value
	}
	header, err := json.Marshal(protected)
	if err != nil {
		return failure(err)
	}
	return answer{"verified": []answer{{"by": "go-jose", "header": string(header), "payload": string(payload)}}}
}

// native is a JSON value as Go has it, with numbers as they are written.
func native(text json.RawMessage) any {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var v any
	_ = dec.Decode(&v) // the line was JSON
	return v
}
