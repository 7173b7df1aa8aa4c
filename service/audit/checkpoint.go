package audit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"
)

// Checkpoint says when the chain is signed, and by what. A signature vouches
// for every record up to the one it names: whoever can write the file but not
// sign cannot make the chain again.
type Checkpoint struct {
	Every        time.Duration // 0 is not by time
	EveryRecords int           // 0 is not by number
	// Sign returns the ES256 signature of a digest, r then s, and the kid of
	// the key that made it. It is called by Run alone, one call at a time.
	Sign func(ctx context.Context, digest [32]byte) (sig [64]byte, kid string, err error)
}

const (
	// signTime is how long one signature may take.
	signTime = 30 * time.Second
	// lastSignTime is how long the one at the end of Run may take.
	lastSignTime = 5 * time.Second
	// The pause after a signature that failed.
	minSignPause = time.Second
	maxSignPause = time.Minute
	// maxBehind is how many records back a checkpoint may point: Verify
	// remembers no more hashes than twice as many.
	maxBehind = 1 << 17
)

// CheckpointDigest is what a checkpoint's key signs: the SHA-256 of a text that
// names the record and the hash of its line. The text has line breaks, which no
// signing input of a JWT can have.
func CheckpointDigest(through uint64, hash Hash) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "jotsmith audit checkpoint v1\n%d\n%s\n", through, hash))
}

// Run writes checkpoints until ctx ends, and one more then. A signature that
// fails is logged and tried again; records do not wait for it.
func (l *Log) Run(ctx context.Context) error {
	c := l.checkpoint
	if c == nil || c.Every <= 0 && c.EveryRecords <= 0 {
		<-ctx.Done()
		return nil
	}
	var tick <-chan time.Time
	if c.Every > 0 {
		ticker := time.NewTicker(c.Every)
		defer ticker.Stop()
		tick = ticker.C
	}
	var pause time.Duration
	for {
		select {
		case <-tick:
		case <-l.writer.due:
		case <-ctx.Done():
			l.lastCheckpoint(ctx)
			return nil
		}
		err := l.sign(ctx, signTime)
		if err == nil || ctx.Err() != nil {
			pause = 0
			continue
		}
		pause = min(max(2*pause, minSignPause), maxSignPause)
		l.log.ErrorContext(ctx, "audit checkpoint not written",
			slog.Duration("retry_after", pause), slog.Any("error", err))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			signal(l.writer.due)
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (l *Log) lastCheckpoint(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if err := l.sign(ctx, lastSignTime); err != nil {
		l.log.WarnContext(ctx, "last audit checkpoint not written", slog.Any("error", err))
	}
}

// sign writes one checkpoint, where there is anything new to vouch for.
func (l *Log) sign(ctx context.Context, limit time.Duration) error {
	at, fresh := l.writer.snapshot()
	if !fresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	signature, kid, err := l.checkpoint.Sign(ctx, CheckpointDigest(at.seq, at.hash))
	if err != nil {
		return err
	}
	if now, _ := l.writer.snapshot(); now.seq-at.seq > maxBehind {
		return fmt.Errorf("the signature took as long as %d records", now.seq-at.seq)
	}
	e := l.entry(typeCheckpoint)
	e.number("through", at.seq)
	e.hex("hash", at.hash[:])
	e.text("kid", kid)
	e.name("sig")
	e.body = base64.RawURLEncoding.AppendEncode(append(e.body, '"'), signature[:])
	e.body = append(e.body, '"')
	seq, err := l.record(ctx, e)
	if err != nil {
		return err
	}
	l.writer.checked(at.seq, seq)
	return nil
}
