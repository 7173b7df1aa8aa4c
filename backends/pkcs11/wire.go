//go:build cgo && unix

package pkcs11

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// The parent process and the child that holds the module speak in frames: a
// length of four bytes, big-endian, then JSON. Both are the same program, so
// the form may change with any version. No PIN ever passes.
const maxFrame = 1 << 20

// What a message is about.
const (
	opOpen     = "open"     // to the child, first and once; answered when the module is loaded
	opDescribe = "describe" // to the child; answered
	opSign     = "sign"     // to the child; answered
	opCancel   = "cancel"   // to the child: the caller of that ID has left
	opPing     = "ping"     // to the child; answered with how long calls have been in the module
	opBegin    = "begin"    // to the parent: pinLedger.begin; answered with the verdict
	opMark     = "mark"     // to the parent: pinLedger.mark
	opEnd      = "end"      // to the parent: pinLedger.end
	opKey      = "key"      // to the parent: a key was found or latched
	opLog      = "log"      // to the parent: a record for its log
)

// message is what passes in either direction; each op uses some fields.
type message struct {
	Op      string        `json:"op"`
	ID      uint64        `json:"id,omitempty"`
	URI     string        `json:"uri,omitempty"`
	PINKey  []byte        `json:"pin_key,omitempty"`
	Keys    []wireKey     `json:"keys,omitempty"`
	KeyID   string        `json:"key_id,omitempty"`
	Digest  []byte        `json:"digest,omitempty"` // to sign, or a pinDigest
	Timeout time.Duration `json:"timeout,omitempty"`

	Failure     *wireError        `json:"failure,omitempty"`
	Public      []byte            `json:"public,omitempty"` // SubjectPublicKeyInfo
	CanonicalID string            `json:"canonical_id,omitempty"`
	Signature   []byte            `json:"signature,omitempty"`
	Verdict     verdict           `json:"verdict,omitempty"`
	Calling     time.Duration     `json:"calling,omitempty"`   // the longest call under way
	Searching   time.Duration     `json:"searching,omitempty"` // the attempt to find the token under way
	Level       slog.Level        `json:"level,omitempty"`
	Text        string            `json:"text,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
}

// wireKey is a key that must stay the same in the next child.
type wireKey struct {
	ID      string     `json:"id"`
	Public  []byte     `json:"public"`
	Latched *wireError `json:"latched,omitempty"`
}

// wireError is a *backends.Error, or the end of a context.
type wireError struct {
	Kind       string        `json:"kind,omitempty"` // the Kind's text; empty for a context's end
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	Text       string        `json:"text,omitempty"`
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &wireError{}
	}
	if known, ok := errors.AsType[*backends.Error](err); ok {
		w := &wireError{Kind: known.Kind.Error(), RetryAfter: known.RetryAfter}
		if known.Err != nil {
			w.Text = known.Err.Error()
		}
		return w
	}
	kind, _ := judge(err)
	return &wireError{Kind: kind.Error(), Text: err.Error()}
}

func (w *wireError) err() error {
	if w == nil {
		return nil
	}
	if w.Kind == "" {
		return context.DeadlineExceeded
	}
	e := &backends.Error{Kind: backends.ErrUnavailable, RetryAfter: w.RetryAfter}
	for _, kind := range backends.Kinds() {
		if kind.Error() == w.Kind {
			e.Kind = kind
		}
	}
	if w.Text != "" {
		e.Err = errors.New(w.Text)
	}
	return e
}

// send writes one frame.
func send(w io.Writer, m *message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("a message of %d bytes is longer than %d", len(body), maxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// receive reads one frame.
func receive(r io.Reader) (*message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes is longer than %d", n, maxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m := new(message)
	return m, json.Unmarshal(body, m)
}
