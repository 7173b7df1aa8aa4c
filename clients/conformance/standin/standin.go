// Package standin is a small HTTP server that stands in for the App Store Connect
// API: it has two apps, and takes tokens by Apple's rules alone. It is for examples
// and tests in every language, so it says what was wrong with a token, which Apple
// does not.
//
// What it checks: alg, kid and typ of the header; the signature; iss of a team's
// key, or sub "user" of an individual's; aud, a string and not an array; iat and exp,
// whole seconds, iat not in the future, no more than 20 minutes apart and no more than
// 20 minutes ahead; scope, where there is one. It knows nothing of the tokens of six
// months that Apple takes for some resources.
//
// https://developer.apple.com/documentation/appstoreconnectapi/generating-tokens-for-api-requests
package standin

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	audience = "appstoreconnect-v1"
	longest  = 20 * time.Minute
)

// Config is what New needs.
type Config struct {
	// Issuer is the issuer id of the team.
	Issuer string
	// Keys returns the public keys of the team by their kid. It is asked for each
	// request, so that a key can be revoked.
	Keys func() (map[string]*ecdsa.PublicKey, error)
	// Now is Apple's clock.
	Now func() time.Time
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu    sync.Mutex
	names map[string]string
}

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), names: map[string]string{"1234567890": "Forecast", "1234567891": "Timetable"}}
	s.mux.HandleFunc("GET /v1/apps", s.apps)
	s.mux.HandleFunc("GET /v1/apps/{id}", s.app)
	s.mux.HandleFunc("PATCH /v1/apps/{id}", s.rename)
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.authorize(r)
	switch {
	case fault == nil:
		s.mux.ServeHTTP(w, r)
	case errors.Is(fault, errScope):
		refuse(w, http.StatusForbidden, "FORBIDDEN_ERROR", "This request is forbidden for security reasons", fault.Error())
	default:
		refuse(w, http.StatusUnauthorized, "NOT_AUTHORIZED", "Authentication credentials are missing or invalid.", fault.Error())
	}
}

func (s *Server) apps(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := []any{}
	for _, id := range slices.Sorted(func(yield func(string) bool) {
		for id := range s.names {
			if !yield(id) {
				return
			}
		}
	}) {
		data = append(data, resource(id, s.names[id]))
	}
	answer(w, map[string]any{"data": data, "links": map[string]string{"self": r.URL.String()}})
}

func (s *Server) app(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	name, ok := s.names[id]
	if !ok {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "The specified resource does not exist", "There is no resource of type 'apps' with id '"+id+"'")
		return
	}
	answer(w, map[string]any{"data": resource(id, name)})
}

// rename takes a request with a body, so that libraries can show that they send one
// again.
func (s *Server) rename(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Data struct {
			Attributes struct {
				Name string `json:"name"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body); err != nil || body.Data.Attributes.Name == "" {
		refuse(w, http.StatusBadRequest, "PARAMETER_ERROR.INVALID", "A parameter has an invalid value", "data.attributes.name is missing")
		return
	}
	s.mu.Lock()
	if _, ok := s.names[r.PathValue("id")]; ok {
		s.names[r.PathValue("id")] = body.Data.Attributes.Name
	}
	s.mu.Unlock()
	s.app(w, r)
}

func resource(id, name string) map[string]any {
	return map[string]any{"type": "apps", "id": id, "attributes": map[string]string{"name": name, "bundleId": "com.example." + strings.ToLower(name), "sku": id}}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers with Apple's form of an error.
func refuse(w http.ResponseWriter, status int, code, title, detail string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{
		"status": fmt.Sprint(status), "code": code, "title": title, "detail": detail,
	}}})
}

var errScope = errors.New("scope does not cover the request")

// authorize says what is wrong with the token of a request.
func (s *Server) authorize(r *http.Request) error {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(r.Header.Values("Authorization")) != 1 {
		return errors.New("no Authorization: Bearer")
	}
	payload, err := s.verify(text)
	if err != nil {
		return err
	}
	var claims struct {
		Iss   *string         `json:"iss"`
		Sub   *string         `json:"sub"`
		Aud   json.RawMessage `json:"aud"`
		Iat   json.RawMessage `json:"iat"`
		Exp   json.RawMessage `json:"exp"`
		Scope *[]string       `json:"scope"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	team, individual := claims.Iss != nil && *claims.Iss == s.cfg.Issuer, claims.Iss == nil && claims.Sub != nil && *claims.Sub == "user"
	if !team && !individual {
		return errors.New("iss is not the team's, nor is sub \"user\" without an iss")
	}
	if string(claims.Aud) != `"`+audience+`"` {
		return fmt.Errorf("aud is not the string %q", audience)
	}
	if err := s.checkTimes(claims.Iat, claims.Exp); err != nil {
		return err
	}
	if claims.Scope == nil {
		return nil
	}
	for _, entry := range *claims.Scope {
		if covers(entry, r) {
			return nil
		}
	}
	return errScope
}

// verify returns the payload of a token whose header and signature are right.
func (s *Server) verify(text string) ([]byte, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, fmt.Errorf("part %d is no base64url", i+1)
		}
	}
	var header map[string]any
	if err := json.Unmarshal(decoded[0], &header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if header["alg"] != "ES256" || header["typ"] != "JWT" {
		return nil, errors.New("alg is not ES256 or typ is not JWT")
	}
	keys, err := s.cfg.Keys()
	if err != nil {
		return nil, errors.New("the keys cannot be read")
	}
	kid, _ := header["kid"].(string)
	key, ok := keys[kid]
	if !ok {
		return nil, errors.New("no key of the team has this kid")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature := decoded[2]
	if len(signature) != 64 || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return nil, errors.New("the signature is wrong")
	}
	return decoded[1], nil
}

// checkTimes holds iat and exp to Apple's 20 minutes.
func (s *Server) checkTimes(iatText, expText json.RawMessage) error {
	var iat, exp int64
	if len(iatText) == 0 || json.Unmarshal(iatText, &iat) != nil {
		return errors.New("iat is not a whole number")
	}
	if len(expText) == 0 || json.Unmarshal(expText, &exp) != nil {
		return errors.New("exp is not a whole number")
	}
	now, issued, expires := s.cfg.Now(), time.Unix(iat, 0), time.Unix(exp, 0)
	switch {
	case issued.After(now):
		return errors.New("iat is in the future")
	case !expires.After(now):
		return errors.New("expired")
	case expires.Sub(issued) > longest:
		return errors.New("exp is more than 20 minutes after iat")
	case expires.After(now.Add(longest)):
		return errors.New("exp is more than 20 minutes ahead")
	}
	return nil
}

// covers says whether an entry of a scope, as in "GET /v1/apps?filter[name]=x", is
// about a request. Order does not matter, nor do limit, cursor and sort.
func covers(entry string, r *http.Request) bool {
	method, target, ok := strings.Cut(entry, " ")
	at, err := url.ParseRequestURI(target)
	if !ok || err != nil || method != r.Method || at.Path != r.URL.Path {
		return false
	}
	query := func(u *url.URL) string {
		values := u.Query()
		for _, ignored := range []string{"limit", "cursor", "sort"} {
			values.Del(ignored)
		}
		return values.Encode()
	}
	return query(at) == query(r.URL)
}
