// Command driver plays the conformance scenarios with the library of Go; it speaks
// what clients/conformance/driver.md says.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	jotsmith "github.com/jotsmith/jotsmith/clients/go"
)

func main() {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil { //nolint:forbidigo // main starts the root context
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1) //nolint:forbidigo // main ends the program
	}
}

// command is one line of the input.
type command struct {
	ID       int    `json:"id"`
	Op       string `json:"op"`
	Client   string `json:"client"`
	Address  string `json:"address"`
	Settings struct {
		TLSCA             string `json:"tls_ca"`
		TLSCert           string `json:"tls_cert"`
		TLSKey            string `json:"tls_key"`
		TLSServerName     string `json:"tls_server_name"`
		PlaintextLoopback bool   `json:"plaintext_loopback"`
		Bearer            string `json:"bearer"`
		BearerFile        string `json:"bearer_file"`
		Timeout           int    `json:"timeout"`
	} `json:"settings"`
	request
	Timeout  int       `json:"timeout"`
	Callers  int       `json:"callers"`
	Requests []request `json:"requests"`
	Of       int       `json:"of"`

	JWT string `json:"jwt"`
	JWK string `json:"jwk"`

	Plug    string            `json:"plug"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
	TLSCA   string            `json:"tls_ca"`
}

// request is what a token is asked for with.
type request struct {
	Profile      string          `json:"profile"`
	Claims       json.RawMessage `json:"claims"`
	TTL          int             `json:"ttl"`
	MinRemaining int             `json:"min_remaining"`
}

// options are a request's, of what it says and no more.
func (r request) options() []jotsmith.Option {
	var options []jotsmith.Option
	if len(r.Claims) > 0 {
		var text string
		if json.Unmarshal(r.Claims, &text) == nil {
			options = append(options, jotsmith.Claims(text))
		} else {
			options = append(options, jotsmith.Claims(native(r.Claims)))
		}
	}
	if r.TTL != 0 {
		options = append(options, jotsmith.TTL(milliseconds(r.TTL)))
	}
	if r.MinRemaining != 0 {
		options = append(options, jotsmith.MinRemaining(milliseconds(r.MinRemaining)))
	}
	return options
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// answer is one line of the output without its id.
type answer map[string]any

// driver is the state between commands. It is safe for concurrent use.
type driver struct {
	out sync.Mutex // guards the output

	mu      sync.Mutex
	clients map[string]*jotsmith.Client
	running map[int]context.CancelFunc
	write   func(answer)
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	enc := json.NewEncoder(out)
	d := &driver{clients: map[string]*jotsmith.Client{}, running: map[int]context.CancelFunc{}}
	d.write = func(a answer) {
		d.out.Lock()
		defer d.out.Unlock()
		_ = enc.Encode(a) // nobody is there to be told
	}
	var under sync.WaitGroup
	lines := bufio.NewReader(in)
	var failed error
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		var c command
		if err == nil {
			err = json.Unmarshal(line, &c)
		}
		if err != nil {
			failed = err
			break
		}
		ctx, cancel := context.WithCancel(ctx)
		d.mu.Lock()
		d.running[c.ID] = cancel
		d.mu.Unlock()
		under.Go(func() {
			defer cancel()
			a := d.do(ctx, &c)
			a["id"] = c.ID
			d.write(a)
			d.mu.Lock()
			delete(d.running, c.ID)
			d.mu.Unlock()
		})
	}
	stop()
	under.Wait()
	for _, client := range d.clients {
		_ = client.Close() // the process ends
	}
	return failed
}

// do is one command; its answer is the last of it.
func (d *driver) do(ctx context.Context, c *command) answer {
	switch c.Op {
	case "hello":
		return hello()
	case "connect":
		return d.connect(c)
	case "verify":
		return verify(c)
	case "cancel":
		d.mu.Lock()
		cancel := d.running[c.Of]
		d.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		return answer{}
	}
	d.mu.Lock()
	client := d.clients[c.Client]
	d.mu.Unlock()
	if client == nil {
		return failure(fmt.Errorf("no client %q", c.Client))
	}
	a, err := d.ask(ctx, client, c)
	if err != nil {
		return failure(err)
	}
	return a
}

func (d *driver) connect(c *command) answer {
	s := c.Settings
	client, err := jotsmith.Connect(c.Address, jotsmith.With(jotsmith.Settings{
		CA: s.TLSCA, Cert: s.TLSCert, Key: s.TLSKey, ServerName: s.TLSServerName, PlaintextLoopback: s.PlaintextLoopback,
		Bearer: s.Bearer, BearerFile: s.BearerFile, Timeout: milliseconds(s.Timeout),
	}))
	if err != nil {
		return answer{"error": answer{"native": "setting", "message": err.Error()}}
	}
	d.mu.Lock()
	d.clients[c.Client] = client
	d.mu.Unlock()
	return answer{}
}
