package main

import (
	"crypto/x509"
	"net"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc/codes"

	"github.com/jotsmith/jotsmith/service/authn/spiffe/agenttest"
)

// scriptAgents are the SPIFFE agents of the scripts under way, by their sockets.
var scriptAgents sync.Map

// scriptAgent is an agent with the trust domain that it serves.
type scriptAgent struct {
	*agenttest.Agent
	domain *agenttest.Domain
}

// spiffeAgent runs an agent at $SOCK.agent for example.org, which hands out
// spiffe://example.org/jotsmith for 127.0.0.1: spiffeagent start|stop|deny|rotate.
// start and rotate write ca.pem, and ci.pem and ci.key of spiffe://example.org/ci;
// rotate does so by a new CA.
func spiffeAgent(ts *testscript.TestScript, _ bool, args []string) {
	socket := ts.Getenv("SOCK") + ".agent"
	found, _ := scriptAgents.LoadOrStore(socket, &scriptAgent{})
	agent := found.(*scriptAgent)
	switch args[0] {
	case "start":
		var err error
		agent.Agent, err = agenttest.Listen(socket)
		ts.Check(err)
		ts.Defer(func() { _ = agent.Close() })
		if agent.domain == nil {
			agent.domain, err = agenttest.NewDomain("example.org")
			ts.Check(err)
		}
		agent.hand(ts)
	case "stop":
		ts.Check(agent.Close())
	case "deny":
		agent.Deny(codes.PermissionDenied, "no identity issued")
	case "rotate":
		ts.Check(agent.domain.AddCA())
		agent.domain.DropCA()
		agent.hand(ts)
	default:
		ts.Fatalf("unknown: spiffeagent %s", args[0])
	}
}

func (a *scriptAgent) hand(ts *testscript.TestScript) {
	own, err := a.domain.Issue("jotsmith", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	ts.Check(err)
	ci, err := a.domain.Issue("ci")
	ts.Check(err)
	writePEM(ts, "ca.pem", 0o644, "CERTIFICATE", a.domain.Bundle())
	writePEM(ts, "ci.pem", 0o644, "CERTIFICATE", ci.Raw)
	key, err := x509.MarshalPKCS8PrivateKey(ci.Key)
	ts.Check(err)
	writePEM(ts, "ci.key", 0o600, "PRIVATE KEY", key)
	resp, err := agenttest.Response(a.domain, []*agenttest.Leaf{own})
	ts.Check(err)
	a.Hand(resp)
}
