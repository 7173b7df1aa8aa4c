package conformance_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/clients/conformance/relay"
	"github.com/jotsmith/jotsmith/clients/conformance/stage"
	"github.com/jotsmith/jotsmith/service"
)

// play is one scenario under way with one driver.
type play struct {
	t        *testing.T
	driver   *driver
	server   *stage.Server
	relay    *relay.Relay
	consumer *consumer
	fill     *strings.Replacer
	client   string // what the clients of this play have before their names
	main     bool   // its client `main` is connected

	environment string // the socket that the driver's environment names

	kept    map[string]answer
	running map[string]running
}

// running is a command whose answers are still to come.
type running struct {
	id      int
	answers <-chan answer
	begun   time.Time
}

// newPlay sets the stage. plug is the one that stands for $plug.
func newPlay(t *testing.T, d *driver, program, plug string) *play {
	t.Helper()
	server := stage.New(t, program)
	server.Start()
	between := relay.New(t, server.File("between"), server.Unix())
	c := newConsumer(t, server)
	return &play{
		t: t, driver: d, server: server, relay: between, consumer: c,
		client: fmt.Sprintf("%s %s ", t.Name(), plug),
		fill: strings.NewReplacer(
			"$dir", server.Dir, "$unix", server.Unix(), "$tcp", server.TCP, "$loopback", server.Loopback, "$between", between.Address,
			"$api", c.web.URL, "$guarded", c.guarded, "$plug", plug, "$issuer", stage.Issuer),
		kept: map[string]answer{}, running: map[string]running{},
	}
}

// act does a step and says what was wrong.
func (p *play) act(s *step) error {
	name, node := s.operation()
	if own, ok := p.operations()[name]; ok {
		return own(s, node)
	}
	arguments, err := arguments(node, p.fill.Replace)
	if err != nil {
		return err
	}
	if of, ok := arguments["of"].(string); ok {
		arguments["of"] = p.running[of].id
	}
	if err := p.name(name, arguments); err != nil {
		return err
	}
	begun := time.Now()
	id, answers, err := p.driver.send(name, arguments)
	if err != nil {
		return err
	}
	if s.Begin {
		p.running[s.As] = running{id, answers, begun}
		return nil
	}
	a, err := p.driver.receive(answers)
	if err != nil {
		return err
	}
	return p.judge(s, a, time.Since(begun))
}

// name gives a command's client its name in the driver, and connects the one that is
// there without being asked for: `main`, of the relay.
func (p *play) name(op string, arguments map[string]any) error {
	named, ok := arguments["client"].(string)
	if !ok {
		named = "main"
	}
	switch op {
	case "hello", "verify", "cancel":
		return nil
	}
	arguments["client"] = p.client + named
	if named != "main" || p.main {
		return nil
	}
	p.main = true
	if op == "connect" {
		return nil
	}
	a, err := p.driver.do("connect", map[string]any{"client": p.client + "main", "address": p.relay.Address, "settings": map[string]any{"timeout": 20_000}})
	if err == nil && a["error"] != nil {
		err = fmt.Errorf("connect: %v", a["error"])
	}
	return err
}

// judge compares what came with what is expected, and keeps it.
func (p *play) judge(s *step, a answer, took time.Duration) error {
	a = flat(a)
	if s.As != "" {
		p.kept[s.As] = a
	}
	if _, expected := s.Expect["error"]; !expected && a["error"] != nil {
		return fmt.Errorf("error %v", a["error"])
	}
	if s.Expect != nil {
		if wrong := match(filled(s.Expect, p.fill.Replace), a, p.kept); wrong != "" {
			if a["error"] != nil {
				wrong = fmt.Sprintf("%s; error %v", wrong, a["error"])
			}
			return errors.New(wrong)
		}
	}
	if len(s.Took) == 2 && (took < s.Took[0].Duration || took > s.Took[1].Duration) {
		return fmt.Errorf("it took %v", took)
	}
	if s.Distinct > 0 {
		tokens, _ := a["tokens"].([]any)
		different := map[string]bool{}
		for _, token := range tokens {
			member, _ := token.(map[string]any)
			different[jwtOf(member)] = true
		}
		if len(different) != s.Distinct {
			return fmt.Errorf("%d different tokens among %d", len(different), len(tokens))
		}
	}
	return nil
}

// operations are those that are not the driver's.
func (p *play) operations() map[string]func(*step, *yaml.Node) error {
	return map[string]func(*step, *yaml.Node) error{
		"finish": p.finish, "verified": p.verified, "every_reason": p.everyReason, "answer": p.answer,
		"wait":    func(_ *step, n *yaml.Node) error { return with(n, func(d duration) { time.Sleep(d.Duration) }) },
		"shift":   func(_ *step, n *yaml.Node) error { return with(n, func(d duration) { p.relay.Shift(d.Duration) }) },
		"cut":     func(*step, *yaml.Node) error { p.relay.Cut(); return nil },
		"server":  func(_ *step, n *yaml.Node) error { return p.operate(n.Value) },
		"disable": func(_ *step, n *yaml.Node) error { p.server.Disable(n.Value); return nil },
		"enable":  func(_ *step, n *yaml.Node) error { p.server.Enable(n.Value); return nil },
		"certificate": func(_ *step, n *yaml.Node) error {
			p.server.Certificate(n.Value)
			return nil
		},
		"bearer": func(_ *step, n *yaml.Node) error { p.server.Bearer(n.Value); return nil },
		"write": func(_ *step, n *yaml.Node) error {
			return with(n, func(files map[string]string) {
				for name, text := range files {
					p.server.Write(name, text)
				}
			})
		},
		"last": func(_ *step, n *yaml.Node) error {
			return with(n, func(d [2]duration) { p.relay.Last(&relay.Schedule{Refresh: d[0].Duration, Expire: d[1].Duration}) })
		},
		"asked": func(_ *step, n *yaml.Node) (err error) {
			failed := with(n, func(want map[string]int) {
				for method, times := range want {
					if n := p.relay.Asked(method); n != times {
						err = fmt.Errorf("the server was asked for %s %d times, not %d", method, n, times)
					}
				}
			})
			return errors.Join(failed, err)
		},
		"sent": func(_ *step, n *yaml.Node) error {
			if got := p.relay.LastClaims(); got != n.Value {
				return fmt.Errorf("claims %q arrived", got)
			}
			return nil
		},
		"sent_members": func(_ *step, n *yaml.Node) error {
			if wrong := contains(n.Value, p.relay.LastClaims()); wrong != "" {
				return errors.New(wrong)
			}
			return nil
		},
		"requests": func(_ *step, n *yaml.Node) (err error) {
			failed := with(n, func(want int32) {
				if got := p.consumer.requests.Swap(0); got != want {
					err = fmt.Errorf("%d requests came", got)
				}
			})
			return errors.Join(failed, err)
		},
		"hidden": func(_ *step, n *yaml.Node) (err error) {
			failed := with(n, func(want struct{ Token, In string }) {
				jwt := jwtOf(p.kept[want.Token])
				for _, part := range append(strings.Split(jwt, "."), jwt) {
					if part == "" || strings.Contains(fmt.Sprint(p.kept[want.In]["shown"]), part) {
						err = errors.New("a part of the token is printed")
					}
				}
			})
			return errors.Join(failed, err)
		},
		"environment":      func(*step, *yaml.Node) error { return os.Symlink(p.server.File("s"), p.environment) },
		"consumer_refuses": func(_ *step, n *yaml.Node) error { return with(n, p.consumer.refuse.Store) },
	}
}

// with gives f the arguments of an operation.
func with[T any](n *yaml.Node, f func(T)) error {
	var arguments T
	if err := n.Decode(&arguments); err != nil {
		return err
	}
	f(arguments)
	return nil
}

func (p *play) operate(what string) error {
	switch what {
	case "stop":
		p.server.Stop()
	case "start":
		p.server.Start()
	case "restart":
		p.server.Stop()
		p.server.Start()
	case "rotate":
		p.server.Rotate()
	default:
		return fmt.Errorf("a server does not %s", what)
	}
	return nil
}

// finish waits for the next answer to a command that was begun.
func (p *play) finish(s *step, n *yaml.Node) error {
	r, ok := p.running[n.Value]
	if !ok {
		return fmt.Errorf("nothing was begun as %q", n.Value)
	}
	a, err := p.driver.receive(r.answers)
	if err != nil {
		return err
	}
	return p.judge(s, a, time.Since(r.begun))
}

// verified has the language's JOSE libraries verify a kept token, with the server's
// key of its kid, and looks at what they found.
func (p *play) verified(_ *step, n *yaml.Node) (err error) {
	var want struct{ Token, Header, Claims string }
	if err := n.Decode(&want); err != nil {
		return err
	}
	_, jwks, err := p.server.PublicKeys(p.t.Context())
	if err != nil {
		return err
	}
	kept := p.kept[want.Token]
	a, err := p.driver.do("verify", map[string]any{"jwt": jwtOf(kept), "jwk": jwks[fmt.Sprint(kept["kid"])]})
	if err != nil {
		return err
	}
	by, _ := a["verified"].([]any)
	if len(by) == 0 {
		return fmt.Errorf("nobody verified it: %v", a["error"])
	}
	for _, library := range by {
		found, _ := library.(map[string]any)
		for _, part := range [][2]string{{want.Header, "header"}, {want.Claims, "payload"}} {
			text, _ := found[part[1]].(string)
			if wrong := contains(p.fill.Replace(part[0]), text); part[0] != "" && wrong != "" {
				return fmt.Errorf("%v: %s: %s", found["by"], part[1], wrong)
			}
		}
	}
	return nil
}

// answer has the relay answer the next calls of a method.
func (p *play) answer(_ *step, n *yaml.Node) error {
	var want struct {
		Call, Code, Reason string
		Times              int
		Hold               duration
		RetryAfter         duration `yaml:"retry_after"`
	}
	if err := n.Decode(&want); err != nil {
		return err
	}
	a := relay.Answer{Hold: want.Hold.Duration}
	if want.Code != "" {
		number, ok := code.Code_value[want.Code]
		if !ok {
			return fmt.Errorf("there is no code %q", want.Code)
		}
		a.Status = statusOf(codes.Code(number), want.Reason, "because of the test", want.RetryAfter.Duration)
	}
	for range max(want.Times, 1) {
		p.relay.Answer(want.Call, a)
	}
	return nil
}

func statusOf(code codes.Code, reason, message string, retryAfter time.Duration, more ...protoadapt.MessageV1) *status.Status {
	if reason != "" {
		more = append(more, &errdetails.ErrorInfo{Reason: reason, Domain: service.Domain})
	}
	if retryAfter > 0 {
		more = append(more, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	st, err := status.New(code, message).WithDetails(more...)
	if err != nil {
		panic(err) // details are known messages
	}
	return st
}

// everyReason answers with each row of the server's table of errors, and expects the
// library's native error to say it all. The times of RetryInfo are so long that no try
// follows before the deadline of any library.
func (p *play) everyReason(*step, *yaml.Node) error {
	violation := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "ttl", Description: "is too long"}}}
	rows := append(service.Failures(),
		service.Failure{Code: codes.InvalidArgument, Reason: "INVALID_REQUEST", Message: "request refused: ttl is too long"},
		service.Failure{Code: codes.Internal, Reason: "INTERNAL", Message: "internal error"},
		service.Failure{Code: codes.Unimplemented, Message: "unknown method"})
	for _, row := range rows {
		row.Retry *= 60
		var details []protoadapt.MessageV1
		expected := map[string]any{
			"code": code.Code_name[int32(row.Code)], "reason": row.Reason, "message": row.Message, "violations": []any{}, "native": "", "retry_after": row.Retry.Milliseconds(),
			"retryable": row.Code == codes.Unavailable || row.Code == codes.ResourceExhausted || row.Code == codes.DeadlineExceeded,
		}
		switch row.Code { //nolint:exhaustive // the others have nothing of their own
		case codes.InvalidArgument:
			details = append(details, violation)
			expected["violations"] = []any{map[string]any{"field": "ttl", "description": "is too long"}}
		case codes.DeadlineExceeded:
			expected["native"] = "deadline"
		case codes.Canceled:
			expected["native"] = "cancelled"
		}
		p.relay.Answer("MintToken", relay.Answer{Status: statusOf(row.Code, row.Reason, row.Message, row.Retry, details...)})
		s := &step{Expect: map[string]any{"error": expected}}
		a, err := p.driver.do("token", map[string]any{"client": p.client + "brief", "profile": "svc"})
		if err == nil {
			err = p.judge(s, a, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", row.Reason, err)
		}
	}
	return nil
}
