package config

import (
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
)

// decode reads a file strictly, with messages that name no field for presets.
func decode(name string, data []byte, message proto.Message, check func() []strictyaml.Problem) error {
	return strictyaml.Decode(name, data, message, strictyaml.Options{Check: check, Mend: mend, Hidden: "configured"})
}

// mend says what is wrong with a field that breaks a rule of its proto, and
// what to write instead. there says whether the field is in the file.
func mend(v *protovalidate.Violation, there bool) string {
	rule := v.Proto.GetRuleId()
	switch rule {
	case "required":
		if strictyaml.IsOneof(v) {
			return "set one of " + choices(lastField(v))
		}
		return "is missing"
	case "string.min_len", "string.min_bytes":
		if !there {
			return "is missing"
		}
		return "is empty"
	case "string.max_len":
		return fmt.Sprintf("is longer than %v characters", v.RuleValue)
	case "string.max_bytes":
		return fmt.Sprintf("is longer than %v bytes", v.RuleValue)
	case "string.pattern":
		if !there && !v.Proto.GetForKey() {
			return "is missing; it " + form(v)
		}
		return form(v)
	case "string.in":
		var list []string
		for i := range v.RuleValue.List().Len() {
			list = append(list, v.RuleValue.List().Get(i).String())
		}
		form := "has to be one of " + strings.Join(list, ", ")
		if !there {
			return "is missing; it " + form
		}
		return form
	case "bool.const":
		return "can only be true; remove it instead"
	case "uint32.lte":
		return fmt.Sprintf("is more than %v", v.RuleValue)
	case "repeated.min_items", "map.min_pairs":
		if !there {
			return "is missing; give at least one"
		}
		return "is empty; give at least one"
	case "repeated.max_items", "map.max_pairs":
		return fmt.Sprintf("has more than %v items", v.RuleValue)
	case "repeated.unique":
		return "names one twice"
	}
	// Of a duration's limits, or our own.
	return strings.NewReplacer(
		"must be greater than or equal to ", "has to be at least ",
		" and less than or equal to ", " and at most ",
	).Replace(v.Proto.GetMessage())
}

func lastField(v *protovalidate.Violation) string {
	elements := v.Proto.GetField().GetElements()
	if len(elements) == 0 {
		return ""
	}
	return elements[len(elements)-1].GetFieldName()
}

// choices names the fields of a oneof, without those for presets alone.
func choices(oneof string) string {
	switch oneof {
	case "kind":
		return "unix and tcp"
	case "identity":
		return "unix, mtls, oidc and loopback"
	case "san":
		return "uri, dns and email"
	case "source":
		return "fixed, caller, computed, template and forbidden"
	}
	return ""
}

// form describes what a field's pattern, or that of the names in a map,
// matches.
func form(v *protovalidate.Violation) string {
	const name = "1 to 63 letters, digits, dots, underscores and hyphens, a letter or digit first"
	switch lastField(v) {
	case "backends":
		return "this name has to be 1 to 63 lower-case letters, digits, dots, underscores and hyphens, a letter or digit first"
	case "keys":
		return "this name has to be " + name
	case "profiles":
		return "this name has to be 1 to 128 lower-case letters, digits, dots, underscores, hyphens and slashes, a letter or digit first"
	case "name":
		return "has to be " + name
	case "path", "certificate_file", "key_file", "client_ca_file", "ledger_file", "file", "state_file", "ca_file":
		return "has to be an absolute path, with a slash first"
	case "url", "jwks_url":
		return "has to be an https URL"
	case "mode":
		return `has to be three octal digits, as in "0660"`
	case "workload_api":
		return "has to be a Unix socket, as in unix:///run/spire/agent.sock"
	case "allowed_origins":
		return "has to be an origin in lower case, as in https://console.example: a scheme, a host and its port, and no slash behind"
	case "spiffe_id":
		return "has to be a SPIFFE ID, as in spiffe://example.org/jotsmith"
	case "trust_domains":
		return "has to be the name of a trust domain, as in example.org: lower-case letters, digits, dots, hyphens and underscores"
	case "kid":
		return "has to be 1 to 128 printable ASCII characters without blanks"
	case "spki_sha256":
		return "has to be 64 hexadecimal digits in lower case, as `jotsmith key describe` prints them"
	case "typ":
		return "has to be 1 to 64 printable ASCII characters without blanks, as in at+jwt"
	}
	return v.Proto.GetMessage()
}
