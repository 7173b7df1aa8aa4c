package filekey

import (
	"context"
	"crypto/elliptic"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

func TestAFileSystemThatHangs(t *testing.T) {
	dir := t.TempDir()
	good := []byte(pkcs8(t, newKeyOn(t, elliptic.P256())))
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir)
		mounted := make(chan struct{})
		reads := make(chan struct{}, 2*maxReads)
		b.read = func(string, string) ([]byte, error) {
			reads <- struct{}{}
			<-mounted
			return good, nil
		}
		for range 2 * maxReads {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			if _, err := b.Describe(ctx, "key.p8"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Describe = %v, want %v", err, context.DeadlineExceeded)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("Describe took %v, want its second", took)
			}
			cancel()
		}
		if len(reads) != maxReads {
			t.Errorf("%d reads hang, want %d", len(reads), maxReads)
		}
		close(mounted)
		if _, err := b.Describe(t.Context(), "key.p8"); err != nil {
			t.Errorf("Describe after the hang = %v", err)
		}
	})
}

func TestCloseDoesNotWaitForeverForAHungRead(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir)
		mounted := make(chan struct{})
		b.read = func(string, string) ([]byte, error) {
			<-mounted
			return nil, errNoDirectory
		}
		described := make(chan error)
		go func() {
			_, err := b.Describe(t.Context(), "key.p8")
			described <- err
		}()
		synctest.Wait()
		start := time.Now()
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(start); took != drainLimit {
			t.Errorf("Close took %v, want %v", took, drainLimit)
		}
		close(mounted)
		if err := <-described; !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("the call under way says %v", err)
		}
	})
}

func TestADescribeWinsOverASignThatReadEarlier(t *testing.T) {
	dir := t.TempDir()
	older, newer := newKeyOn(t, elliptic.P256()), newKeyOn(t, elliptic.P256())
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir)
		slow, content := make(chan struct{}), []byte(pkcs8(t, older))
		b.read = func(string, string) ([]byte, error) {
			<-slow
			return content, nil
		}
		signed := make(chan backends.Signature)
		go func() {
			sig, err := b.Sign(t.Context(), "key.p8", backends.Digest{1})
			if err != nil {
				t.Error(err)
			}
			signed <- sig
		}()
		synctest.Wait()
		b.install("key.p8", newer, true) // a Describe that overtook the Sign
		close(slow)
		if sig := <-signed; !sig.Verify(&newer.PublicKey, backends.Digest{1}) {
			t.Error("Sign brought the older key back")
		}
	})
}
