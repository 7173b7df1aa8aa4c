package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jotsmith/jotsmith/backends"
)

// keySuffix is at the end of the name of the file with the key of the hashes.
const keySuffix = ".hmac-key"

const keySize = 32

// hashKey is the key under which the values of claims are hashed. Its file is
// what one process alone has locked, for as long as it writes the log: the log
// itself is renamed and made anew.
type hashKey struct {
	file  *os.File
	bytes *[keySize]byte // by its address, so that fmt prints nothing of it
	fresh bool           // it was made just now
}

// openKey reads and locks the key, which it makes where there is none.
func openKey(path string, random io.Reader) (*hashKey, error) {
	k, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path, random); err != nil {
			return nil, err
		}
		if k, err = readKey(path); err == nil {
			k.fresh = true
		}
	}
	return k, err
}

func readKey(path string) (*hashKey, error) {
	f, err := openPlain(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	k, err := loadKey(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func loadKey(f *os.File) (*hashKey, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if err := backends.CheckSecret(f.Name(), info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 2*keySize+2))
	if err != nil {
		return nil, plain(err)
	}
	k := &hashKey{file: f, bytes: new([keySize]byte)}
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) != 2*keySize {
		return nil, errors.New("does not have the 64 hex digits of a key: put the right file back, or move it away and a new key is made")
	}
	if _, err := hex.Decode(k.bytes[:], text); err != nil {
		return nil, errors.New("does not have the 64 hex digits of a key: put the right file back, or move it away and a new key is made")
	}
	return k, lock(f)
}

// makeKey makes a file with a new key. Of two processes that do one wins, and
// both read its key.
func makeKey(path string, random io.Reader) error {
	var key [keySize]byte
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return fmt.Errorf("no randomness for %s: %w", path, err)
	}
	next, err := os.CreateTemp(filepath.Dir(path), ".hmac-key-*") // 0600
	if err != nil {
		return err
	}
	_, err = next.WriteString(hex.EncodeToString(key[:]) + "\n")
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		if err = os.Link(next.Name(), path); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	return errors.Join(err, os.Remove(next.Name()), syncDir(path))
}

func (k *hashKey) newHash() hash.Hash { return hmac.New(sha256.New, k.bytes[:]) }

// id names the key without a way back to it.
func (k *hashKey) id() string {
	mac := k.newHash()
	_, _ = io.WriteString(mac, "jotsmith audit key id") // a hash takes all
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// String redacts.
func (*hashKey) String() string { return "[audit key]" }

// GoString redacts.
func (k *hashKey) GoString() string { return k.String() }

// LogValue redacts.
func (k *hashKey) LogValue() slog.Value { return slog.StringValue(k.String()) }
