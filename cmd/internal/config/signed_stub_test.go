//go:build !cgo || !unix

package config

import "testing"

// softHSM says that a program built without cgo has no PKCS#11.
func softHSM(*testing.T, string) (store, bool) { return store{}, false }
