//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/jotsmith/jotsmith/backends"
)

// pinState remembers refused PINs across restarts, in one file of one line a
// PIN: the token's serial number, a salt and the PIN's argon2id hash. Lines are
// only appended, so that processes can share the directory. A nil *pinState
// remembers nothing.
//
// A refused PIN is often the right one with a slip, and PINs are short, so the
// file is worth guarding even though it holds hashes: it has mode 0600.
type pinState struct{ file string }

// maxState is far more than a file of refused PINs has: a line for each mistake
// that somebody made, of about a hundred bytes.
const maxState = 1 << 20

// newPINState checks the directory; an empty name means none.
func newPINState(dir string) (*pinState, error) {
	if dir == "" {
		return nil, nil
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fail(backends.ErrAccessDenied, "pin-state: %w: make the directory with mode 0700", err)
	case !info.IsDir():
		return nil, fail(backends.ErrAccessDenied, "pin-state: %s is not a directory", dir)
	}
	if err := backends.CheckWriters(dir, info); err != nil {
		return nil, fail(backends.ErrAccessDenied, "pin-state: %s: %w", dir, err)
	}
	s := &pinState{file: filepath.Join(dir, "refused-pins")}
	_, _, err = s.lines("")
	return s, err
}

// has says whether the token of this serial number refused the PIN. An error
// means that nobody knows, and the PIN is not to be tried.
func (s *pinState) has(serial string, p pin) (bool, error) {
	if s == nil {
		return false, nil
	}
	salt, hashes, err := s.lines(serial)
	if err != nil || len(hashes) == 0 {
		return false, err
	}
	mine := slowHash(p, salt)
	for _, hash := range hashes {
		if subtle.ConstantTimeCompare(mine, hash) == 1 {
			return true, nil
		}
	}
	return false, nil
}

// add remembers a PIN that the token refused.
func (s *pinState) add(serial string, p pin) error {
	if s == nil {
		return nil
	}
	salt, _, err := s.lines(serial)
	if err != nil {
		return err
	}
	if salt == nil {
		salt = make([]byte, 16)
		_, _ = rand.Read(salt) // never fails, says its documentation
	}
	f, err := os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %x %x\n", serialField(serial), salt, slowHash(p, salt))
	return errors.Join(err, f.Sync(), f.Close())
}

// lines returns the salt of the token's lines, which they share, and the hashes.
func (s *pinState) lines(serial string) (salt []byte, hashes [][]byte, err error) {
	data, err := backends.ReadSecretFile(s.file, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fail(backends.ErrAccessDenied, "pin-state: %w", err)
	}
	for line := range bytes.Lines(data) {
		fields := strings.Split(string(bytes.TrimSuffix(line, []byte("\n"))), " ")
		if len(fields) != 3 {
			return nil, nil, s.damaged()
		}
		lineSalt, saltErr := hex.DecodeString(fields[1])
		hash, hashErr := hex.DecodeString(fields[2])
		switch {
		case saltErr != nil || hashErr != nil:
			return nil, nil, s.damaged()
		case fields[0] != serialField(serial):
			continue
		case salt == nil:
			salt = lineSalt
		}
		if bytes.Equal(lineSalt, salt) {
			hashes = append(hashes, hash)
		}
	}
	return salt, hashes, nil
}

func (s *pinState) damaged() error {
	return fail(backends.ErrAccessDenied, "pin-state: %s is damaged, so no login is tried: "+
		"make sure that the PIN file holds the right PIN, then remove it", s.file)
}

// remedy says how to have a PIN tried again that the token has since been given.
func (s *pinState) remedy() string {
	if s == nil {
		return "restart"
	}
	return "remove " + s.file + " and restart"
}

// serialField writes a serial number without spaces.
func serialField(serial string) string { return "serial=" + escape(serial, unreserved) }

// slowHash is argon2id with the parameters of OWASP's password storage advice.
func slowHash(p pin, salt []byte) []byte { return argon2.IDKey(p, salt, 2, 19<<10, 1, 32) }
