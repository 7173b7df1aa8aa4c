package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"os"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// The bare servers, each a process of its own.
const (
	bareDefault = "default" // grpc-go as it comes
	bareTuned   = "tuned"   // with goroutines that stay, and fewer collections
	bareEcho    = "echo"    // as tuned, and answers one token again and again
)

// bareServer is gRPC and a signature and nothing else: no callers, no grants,
// no claims, no log. It is what the server is measured against.
type bareServer struct {
	jotsmithv1.UnimplementedTokenServiceServer
	key  *ecdsa.PrivateKey
	echo *jotsmithv1.MintTokenResponse // nil unless it only echoes
}

// runBare serves on a Unix socket until ctx ends. A file, if one is named,
// holds the answer to every MintToken.
func runBare(ctx context.Context, kind, socket, answerFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	s := &bareServer{key: key}
	var options []grpc.ServerOption
	if kind != bareDefault {
		debug.SetGCPercent(400)
		options = append(options, grpc.NumStreamWorkers(128))
	}
	switch {
	case answerFile != "":
		s.echo, err = readAnswer(answerFile)
	case kind == bareEcho:
		s.echo, err = s.mint()
	}
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	jotsmithv1.RegisterTokenServiceServer(server, s)
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}

// readAnswer reads an answer as it is on the wire.
func readAnswer(file string) (*jotsmithv1.MintTokenResponse, error) {
	wire, err := os.ReadFile(file) //nolint:gosec // the parent names it
	if err != nil {
		return nil, err
	}
	answer := &jotsmithv1.MintTokenResponse{}
	return answer, proto.Unmarshal(wire, answer)
}

// bareInput has the length of the benched server's signing input.
var bareInput = strings.Repeat("x", 218) //nolint:gochecknoglobals // a Go constant cannot be made by a call

func (s *bareServer) mint() (*jotsmithv1.MintTokenResponse, error) {
	if s.echo != nil {
		return s.echo, nil
	}
	digest := sha256.Sum256([]byte(bareInput))
	der, err := ecdsa.SignASN1(rand.Reader, s.key, digest[:])
	if err != nil {
		return nil, err
	}
	signature, err := backends.SignatureFromDER(der)
	if err != nil {
		return nil, err
	}
	return &jotsmithv1.MintTokenResponse{Token: bareInput + "." + base64.RawURLEncoding.EncodeToString(signature[:])}, nil
}

// MintToken signs.
func (s *bareServer) MintToken(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	return s.mint()
}

// WatchToken sends one token, and waits.
func (s *bareServer) WatchToken(_ *jotsmithv1.WatchTokenRequest, stream grpc.ServerStreamingServer[jotsmithv1.WatchTokenResponse]) error {
	token, err := s.mint()
	if err != nil {
		return err
	}
	if err := stream.Send(&jotsmithv1.WatchTokenResponse{Token: token}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// BatchMintTokens signs one after the other.
func (s *bareServer) BatchMintTokens(_ context.Context, req *jotsmithv1.BatchMintTokensRequest) (*jotsmithv1.BatchMintTokensResponse, error) {
	resp := &jotsmithv1.BatchMintTokensResponse{}
	for range req.GetRequests() {
		token, err := s.mint()
		if err != nil {
			return nil, err
		}
		resp.Results = append(resp.Results, &jotsmithv1.BatchMintTokensResult{
			Outcome: &jotsmithv1.BatchMintTokensResult_Token{Token: token},
		})
	}
	return resp, nil
}

// startBare starts a bare server as a child of this process, with the file of
// its answer if there is one.
func (b *benchmark) startBare(ctx context.Context, name, kind string, answerFile ...string) (target, error) {
	self, err := os.Executable()
	if err != nil {
		return target{}, err
	}
	socket := b.path(name + ".sock")
	child, err := b.start(ctx, self, nil, append([]string{roleBare, kind, socket}, answerFile...)...)
	if err != nil {
		return target{}, err
	}
	return target{pid: child.Process.Pid, address: "unix://" + socket, profile: profileName}, nil
}
