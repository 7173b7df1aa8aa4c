package claims

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The named checks: what a consumer documents and no pattern can say.
const (
	CheckASCScope           = "app_store_connect_scope"
	CheckASCIndividualScope = "app_store_connect_individual_scope"
	CheckASCLongLived       = "app_store_connect_long_lived"
	CheckOrigin             = "origin"
	CheckHTTPSOrigin        = "https_origin"
	CheckHTTPSURL           = "https_url"
	CheckContact            = "contact"
	CheckBase64JSON         = "base64_json"
)

// runCheck runs a named check over the items of a list. The empty name is no
// check.
func runCheck(name string, items []string) error {
	for i, item := range items {
		if err := checkString(name, item); err != nil {
			return fmt.Errorf("item %d %w", i, err)
		}
	}
	return nil
}

// checkString runs a named check over one string.
func checkString(name, s string) error {
	switch name {
	case "":
		return nil
	case CheckASCScope:
		return ascScope(s)
	case CheckASCIndividualScope:
		return ascIndividualScope(s)
	case CheckASCLongLived:
		return ascLongLived(s)
	case CheckOrigin:
		return origin(s)
	case CheckHTTPSOrigin:
		return httpsOrigin(s)
	case CheckHTTPSURL:
		return httpsURL(s)
	case CheckContact:
		return contact(s)
	case CheckBase64JSON:
		return base64JSON(s)
	}
	return errors.New("has an unknown check")
}

// base64JSON checks a JSON object in standard base64 with padding (RFC 4648
// section 4). The object is read as strictly as the caller's claims are, so
// that all who decode it see the same.
func base64JSON(s string) error {
	// The decoder itself skips line ends.
	data, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return errors.New("is not standard base64 with padding (RFC 4648 section 4)")
	}
	if len(data) == 0 {
		return errors.New("holds no JSON object")
	}
	if _, err := parse(string(data)); err != nil {
		return fmt.Errorf("does not hold a JSON object: %w", err)
	}
	return nil
}
