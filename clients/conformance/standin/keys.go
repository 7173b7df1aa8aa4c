package standin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
)

// ReadKeys reads a JWK Set from a file, as `jotsmith key publish` writes one, for
// Config.Keys.
func ReadKeys(file string) (map[string]*ecdsa.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct{ Kid, Kty, Crv, X, Y string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range set.Keys {
		if k.Kty != "EC" || k.Crv != "P-256" {
			continue
		}
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil {
			return nil, fmt.Errorf("%s: key %s: %w", file, k.Kid, err)
		}
		y, err := base64.RawURLEncoding.DecodeString(k.Y)
		if err != nil {
			return nil, fmt.Errorf("%s: key %s: %w", file, k.Kid, err)
		}
		point := append(append([]byte{4}, x...), y...)
		if keys[k.Kid], err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return nil, fmt.Errorf("%s: key %s: %w", file, k.Kid, err)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no P-256 key", file)
	}
	return keys, nil
}
