//go:build cgo && unix

package pkcs11

// pinState remembers refused PINs across restarts; a nil one remembers nothing.
type pinState struct{ dir string }

func (s *pinState) hint() string          { return "" }
func (s *pinState) has(string, pin) bool  { return false }
func (s *pinState) add(string, pin) error { return nil }
