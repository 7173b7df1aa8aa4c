package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// keptCallers is how many ask for one kept token again and again.
const keptCallers = 64

// addKept adds the rows of a token that is signed already, beside bare gRPC
// servers that answer the same request with the same bytes: what is left
// between them is all that MintToken does when it does not sign.
func (b *benchmark) addKept(ctx context.Context, server, unaudited target) error {
	const section = "A token that is kept"
	server, unaudited = server.askingReused(), unaudited.askingReused()
	answer, err := server.keptAnswer(ctx)
	if err != nil {
		return err
	}
	tuned, err := b.startEcho(ctx, bareTuned, answer)
	if err != nil {
		return err
	}
	byDefault, err := b.startEcho(ctx, bareDefault, answer)
	if err != nil {
		return err
	}
	parties := fmt.Sprintf(", Unix, %d callers", keptCallers)
	echo := "bare echo of the same sizes" + parties
	b.add(&row{section: section, name: echo, load: kept(tuned)})
	b.add(&row{section: section, name: "MintToken of a kept token" + parties, load: kept(server), against: echo, bound: atLeast(0.95)})
	b.add(&row{section: section, name: "MintToken of a kept token, the same, by CPU", load: kept(server), against: echo, byCPU: true})
	b.add(&row{section: section, name: "MintToken of a kept token, without the audit log", load: kept(unaudited), against: echo})
	b.add(&row{section: section, name: "bare default echo of the same sizes" + parties, load: kept(byDefault), against: echo})
	return nil
}

// keptAnswer is what the server answers once the token is kept.
func (t target) keptAnswer(ctx context.Context) (answer *jotsmithv1.MintTokenResponse, err error) {
	conns, err := t.dial(ctx, 1) // whose first call has the token made
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hangUp(conns)) }()
	answer, err = jotsmithv1.NewTokenServiceClient(conns[0]).MintToken(ctx, t.request())
	if err == nil && !answer.GetReused() {
		err = errNotKept
	}
	return answer, err
}

// startEcho starts a bare server that gives this answer, and makes sure that it
// does.
func (b *benchmark) startEcho(ctx context.Context, kind string, answer *jotsmithv1.MintTokenResponse) (target, error) {
	wire, err := proto.Marshal(answer)
	if err != nil {
		return target{}, err
	}
	file := b.path("answer-" + kind)
	if err := os.WriteFile(file, wire, 0o600); err != nil {
		return target{}, err
	}
	t, err := b.startBare(ctx, "same-"+kind, kind, file)
	if err != nil {
		return target{}, err
	}
	t = t.askingReused()
	echoed, err := t.keptAnswer(ctx)
	if err == nil && (!proto.Equal(answer, echoed) || proto.Size(echoed) != len(wire)) {
		err = fmt.Errorf("the echo's answer has %d bytes and is not that of %d bytes which it was given", proto.Size(echoed), len(wire))
	}
	return t, err
}

// errNotKept says that a token was signed where a kept one should have been.
var errNotKept = errors.New("answer with a token that was not kept")

// kept is a load of MintToken that fails unless the token is a kept one.
func kept(t target) load {
	return t.load(keptCallers, 1, func(ctx context.Context, client jotsmithv1.TokenServiceClient) (int, error) {
		resp, err := client.MintToken(ctx, t.request())
		if err == nil && !resp.GetReused() {
			err = errNotKept
		}
		return 1, err
	})
}
