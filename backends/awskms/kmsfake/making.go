package kmsfake

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

// made is what CreateKey keeps of a key.
type made struct {
	description string
	origin      string
	multiRegion bool
	created     time.Time
	token       []byte // of the last GetParametersForImport
	algorithm   string // of the same
}

type makingOperation func(s *Server, w http.ResponseWriter, body []byte, f Fault)

// makingOperations are those beside Sign and GetPublicKey.
func makingOperations() map[string]makingOperation {
	return map[string]makingOperation{
		CreateKey:              strictly((*Server).createKey),
		DescribeKey:            strictly((*Server).describeKey),
		ListKeys:               strictly((*Server).listKeys),
		GetParametersForImport: strictly((*Server).getParameters),
		ImportKeyMaterial:      strictly((*Server).importMaterial),
		CreateAlias:            strictly((*Server).createAlias),
	}
}

// strictly reads the request of an operation, in which no member is unknown.
func strictly[T any](f func(*Server, http.ResponseWriter, T, Fault)) makingOperation {
	return func(s *Server, w http.ResponseWriter, body []byte, fault Fault) {
		var in T
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			fail(w, http.StatusBadRequest, "SerializationException", err.Error())
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		f(s, w, in, fault)
	}
}

func notFound(w http.ResponseWriter, id string) {
	fail(w, http.StatusBadRequest, "NotFoundException", fmt.Sprintf("Key '%s' does not exist", id))
}

type createKey struct {
	KeySpec, KeyUsage, Origin, Description string
	MultiRegion                            bool
	Tags                                   []struct{ TagKey, TagValue string }
}

func (s *Server) createKey(w http.ResponseWriter, in createKey, _ Fault) {
	if in.KeySpec != "ECC_NIST_P256" || in.KeyUsage != "SIGN_VERIFY" || !slices.Contains([]string{"", "AWS_KMS", "EXTERNAL"}, in.Origin) {
		fail(w, http.StatusBadRequest, "ValidationException", "want ECC_NIST_P256, SIGN_VERIFY and the origin AWS_KMS or EXTERNAL")
		return
	}
	k := &key{made: &made{
		description: in.Description, origin: or(in.Origin, "AWS_KMS"), multiRegion: in.MultiRegion, created: time.Now(),
	}}
	if k.made.origin == "AWS_KMS" {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err == nil {
			err = k.take(private)
		}
		if err != nil {
			fail(w, http.StatusInternalServerError, "KMSInternalException", err.Error())
			return
		}
	}
	id := make([]byte, 16)
	rand.Read(id) // it never fails
	name := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	if in.MultiRegion {
		name = "mrk-" + hex.EncodeToString(id)
	}
	keyARN := "arn:aws:kms:" + Region + ":" + Account + ":key/" + name
	s.keys[keyARN] = k
	answer(w, map[string]any{"KeyMetadata": metadata(keyARN, k)})
}

// take gives a key its material.
func (k *key) take(private *ecdsa.PrivateKey) error {
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	k.private, k.spki = private, spki
	return err
}

func metadata(keyARN string, k *key) map[string]any {
	state := "Enabled"
	switch {
	case k.private == nil:
		state = "PendingImport"
	case k.disabled:
		state = "Disabled"
	}
	m := map[string]any{
		"Arn": keyARN, "KeyId": keyARN[strings.LastIndex(keyARN, "/")+1:], "AWSAccountId": Account,
		"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "KeyState": state, "Enabled": state == "Enabled",
		"Origin": "AWS_KMS", "KeyManager": "CUSTOMER",
	}
	if k.made != nil {
		m["Description"], m["Origin"], m["MultiRegion"] = k.made.description, k.made.origin, k.made.multiRegion
		m["CreationDate"] = float64(k.made.created.UnixMilli()) / 1000
	}
	return m
}

type keyOnly struct {
	KeyID string `json:"KeyId"`
}

func (s *Server) describeKey(w http.ResponseWriter, in keyOnly, f Fault) {
	k := s.keys[in.KeyID]
	if k == nil {
		notFound(w, in.KeyID)
		return
	}
	m := metadata(f.keyID(in.KeyID), k)
	answer(w, map[string]any{"KeyMetadata": m})
}

// listKeys answers two keys a page, so that every test meets several pages.
func (s *Server) listKeys(w http.ResponseWriter, in struct{ Marker string }, _ Fault) {
	const page = 2
	arns := slices.Sorted(maps.Keys(s.keys))
	arns = arns[len(arns)-len(slices.DeleteFunc(slices.Clone(arns), func(a string) bool { return a <= in.Marker })):]
	out := map[string]any{"Truncated": len(arns) > page}
	if len(arns) > page {
		arns = arns[:page]
		out["NextMarker"] = arns[page-1]
	}
	entries := []map[string]string{}
	for _, keyARN := range arns {
		entries = append(entries, map[string]string{"KeyArn": keyARN, "KeyId": keyARN[strings.LastIndex(keyARN, "/")+1:]})
	}
	out["Keys"] = entries
	answer(w, out)
}

type getParameters struct {
	KeyID                              string `json:"KeyId"`
	WrappingAlgorithm, WrappingKeySpec string
}

func (s *Server) getParameters(w http.ResponseWriter, in getParameters, f Fault) {
	k := s.keys[in.KeyID]
	switch {
	case k == nil:
		notFound(w, in.KeyID)
		return
	case k.made == nil || k.made.origin != "EXTERNAL":
		fail(w, http.StatusBadRequest, "UnsupportedOperationException", in.KeyID+" origin is not EXTERNAL.")
		return
	case in.WrappingKeySpec != "RSA_4096" || !slices.Contains([]string{"RSA_AES_KEY_WRAP_SHA_256", "RSAES_OAEP_SHA_256"}, in.WrappingAlgorithm):
		fail(w, http.StatusBadRequest, "ValidationException", "want RSA_4096 and one of the two algorithms")
		return
	}
	wrapping, err := s.wrapping()
	if err != nil {
		fail(w, http.StatusInternalServerError, "KMSInternalException", err.Error())
		return
	}
	spki, err := x509.MarshalPKIXPublicKey(&wrapping.PublicKey)
	if err != nil {
		fail(w, http.StatusInternalServerError, "KMSInternalException", err.Error())
		return
	}
	k.made.token, k.made.algorithm = make([]byte, 32), in.WrappingAlgorithm
	rand.Read(k.made.token) // it never fails
	answer(w, map[string]any{
		"KeyId": f.keyID(in.KeyID), "ImportToken": k.made.token, "PublicKey": f.bytes(spki), "ParametersValidTo": time.Now().Add(24 * time.Hour).Unix(),
	})
}

type importMaterial struct {
	KeyID                             string `json:"KeyId"`
	ExpirationModel                   string
	ImportToken, EncryptedKeyMaterial []byte
}

func (s *Server) importMaterial(w http.ResponseWriter, in importMaterial, _ Fault) {
	k := s.keys[in.KeyID]
	switch {
	case k == nil:
		notFound(w, in.KeyID)
		return
	case k.made == nil || k.made.token == nil || !bytes.Equal(k.made.token, in.ImportToken):
		fail(w, http.StatusBadRequest, "InvalidImportTokenException", "")
		return
	case in.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE":
		fail(w, http.StatusBadRequest, "ValidationException", "want KEY_MATERIAL_DOES_NOT_EXPIRE")
		return
	}
	wrapping, err := s.wrapping()
	if err != nil {
		fail(w, http.StatusInternalServerError, "KMSInternalException", err.Error())
		return
	}
	der, err := unwrap(wrapping, k.made.algorithm, in.EncryptedKeyMaterial)
	if err != nil {
		fail(w, http.StatusBadRequest, "InvalidCiphertextException", "")
		return
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() || k.private != nil && !k.private.Equal(private) {
		fail(w, http.StatusBadRequest, "IncorrectKeyMaterialException", "")
		return
	}
	if err := k.take(private); err != nil {
		fail(w, http.StatusInternalServerError, "KMSInternalException", err.Error())
		return
	}
	answer(w, map[string]any{"KeyId": in.KeyID})
}

func unwrap(wrapping *rsa.PrivateKey, algorithm string, wrapped []byte) ([]byte, error) {
	if algorithm == "RSAES_OAEP_SHA_256" {
		return rsa.DecryptOAEP(sha256.New(), nil, wrapping, wrapped, nil)
	}
	if len(wrapped) < wrapping.Size() {
		return nil, errors.New("too short")
	}
	ephemeral, err := rsa.DecryptOAEP(sha256.New(), nil, wrapping, wrapped[:wrapping.Size()], nil)
	if err != nil {
		return nil, err
	}
	cipher, err := kwp.NewKWP(ephemeral)
	if err != nil {
		return nil, err
	}
	return cipher.Unwrap(wrapped[wrapping.Size():])
}

type createAlias struct {
	AliasName   string
	TargetKeyID string `json:"TargetKeyId"`
}

func (s *Server) createAlias(w http.ResponseWriter, in createAlias, _ Fault) {
	switch {
	case s.keys[in.TargetKeyID] == nil:
		notFound(w, in.TargetKeyID)
	case s.aliases[in.AliasName] != "":
		fail(w, http.StatusBadRequest, "AlreadyExistsException", "An alias with the name "+in.AliasName+" already exists")
	default:
		s.aliases[in.AliasName] = in.TargetKeyID
		answer(w, map[string]any{})
	}
}

// ShareWrappingKey has this server unwrap with another's RSA key, because one of
// 4,096 bits takes a second to make.
func (s *Server) ShareWrappingKey(of *Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrapping = of.wrapping
}

// Keys are the key ARNs that CreateKey made, in no order.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var arns []string
	for keyARN, k := range s.keys {
		if k.made != nil {
			arns = append(arns, keyARN)
		}
	}
	return arns
}
