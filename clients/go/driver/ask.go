package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"google.golang.org/genproto/googleapis/rpc/code"

	jotsmith "github.com/jotsmith/jotsmith/clients/go"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// ask is a command for a client.
func (d *driver) ask(ctx context.Context, client *jotsmith.Client, c *command) (answer, error) {
	switch c.Op {
	case "close":
		return answer{}, client.Close()
	case "token":
		return tokens(ctx, client, c)
	case "batch":
		return batch(ctx, client, c)
	case "watch":
		for token, err := range client.Watch(ctx, c.Profile, c.options()...) {
			if err != nil {
				return answer{"end": true, "error": describe(err)}, nil
			}
			d.write(answer{"id": c.ID, "token": shape(token)})
		}
		return answer{"end": true}, nil
	case "explain":
		e, err := client.Explain(ctx, c.Profile, c.options()...)
		if err != nil {
			return nil, err
		}
		refusals := []answer{}
		for _, refusal := range e.Refusals {
			refusals = append(refusals, describe(refusal))
		}
		return answer{"grant": e.Grant, "refusals": refusals, "header": e.Header, "claims": e.Claims, "ttl": e.TTL.Milliseconds()}, nil
	case "keys":
		keys, err := client.Keys(ctx, c.Profile)
		listed := []answer{}
		for _, key := range keys {
			listed = append(listed, answer{"kid": key.KID, "algorithm": key.Algorithm, "jwk": key.JWK, "profiles": key.Profiles})
		}
		return answer{"keys": listed}, err
	case "invalidate":
		client.Invalidate(c.Profile)
		return answer{}, nil
	case "show":
		return show(ctx, client, c)
	case "http":
		return overHTTP(ctx, client, c)
	case "grpc":
		return overGRPC(ctx, client, c)
	}
	return nil, fmt.Errorf("no op %q", c.Op)
}

// tokens asks for a token as many times as the command has callers, at once.
func tokens(ctx context.Context, client *jotsmith.Client, c *command) (answer, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, milliseconds(c.Timeout))
		defer cancel()
	}
	got := make([]answer, max(c.Callers, 1))
	failures := make([]error, len(got))
	var callers sync.WaitGroup
	for i := range got {
		callers.Go(func() {
			token, err := client.Token(ctx, c.Profile, c.options()...)
			got[i], failures[i] = shape(token), err
		})
	}
	callers.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return answer{"tokens": got}, nil
}

func batch(ctx context.Context, client *jotsmith.Client, c *command) (answer, error) {
	requests := make([]jotsmith.Request, len(c.Requests))
	for i, r := range c.Requests {
		requests[i] = jotsmith.Request{Profile: r.Profile}
		for _, option := range r.options() {
			option(&requests[i])
		}
	}
	results, err := client.Batch(ctx, requests...)
	listed := []answer{}
	for _, result := range results {
		if result.Err != nil {
			listed = append(listed, answer{"error": describe(result.Err)})
		} else {
			listed = append(listed, answer{"token": shape(result.Token)})
		}
	}
	return answer{"results": listed}, err
}

func show(ctx context.Context, client *jotsmith.Client, c *command) (answer, error) {
	token, err := client.Token(ctx, c.Profile, c.options()...)
	if err != nil {
		return nil, err
	}
	var shown bytes.Buffer
	fmt.Fprintf(&shown, "%v %+v %#v %s %q %x\n", token, token, token, token, token, token)
	slog.New(slog.NewTextHandler(&shown, nil)).InfoContext(ctx, "shown", "token", token)
	text, err := json.Marshal(token)
	shown.Write(text)
	return answer{"shown": shown.String()}, err
}

func overHTTP(ctx context.Context, client *jotsmith.Client, c *command) (answer, error) {
	var body io.Reader = http.NoBody
	if c.Body != "" {
		body = strings.NewReader(c.Body)
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, c.URL, body)
	if err != nil {
		return nil, err
	}
	for name, value := range c.Headers {
		req.Header.Set(name, value)
	}
	web := &http.Client{Transport: client.Transport(nil, c.Profile, c.options()...)}
	resp, err := web.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{"status": resp.StatusCode, "body": string(text)}, err
}

func overGRPC(ctx context.Context, client *jotsmith.Client, c *command) (answer, error) {
	transport, err := credentials.NewClientTLSFromFile(c.TLSCA, "")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(client.PerRPCCredentials(c.Profile, c.options()...)))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // the call has been made
	_, err = jotsmithv1.NewKeyServiceClient(conn).ListKeys(ctx, &jotsmithv1.ListKeysRequest{})
	return answer{"status": code.Code(status.Code(err)).String()}, nil
}
