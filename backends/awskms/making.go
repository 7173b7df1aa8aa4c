package awskms

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/jotsmith/jotsmith/backends"
)

// making is what the operator wants of a new key.
type making struct {
	alias       string // alias/NAME, under which nothing may be yet
	multiRegion bool
	description string
	tags        []types.Tag
	wrap        types.AlgorithmSpec // for an import
	resume      string              // the key ARN to go on with, resumeNone, or empty
}

// The operator knows what an earlier run left, and wants a new key.
const resumeNone = "none"

const knownSettings = "description, multi-region, resume, tag:NAME, wrap"

// newMaking reads the id and the settings. Only an alias can be chosen for a new
// key: KMS chooses key ids.
func newMaking(id string, settings map[string]string, imports bool) (making, error) {
	if !matches(aliasPattern, id) || strings.HasPrefix(id, "alias/aws/") {
		return making{}, refused("a new key's id is alias/NAME, of up to 250 letters, digits, /, _ and -, and not alias/aws/...: KMS chooses the key id itself")
	}
	k := making{alias: id, wrap: types.AlgorithmSpecRsaAesKeyWrapSha256}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := k.set(name, settings[name], imports); err != nil {
			return making{}, err
		}
	}
	return k, nil
}

func (k *making) set(name, value string, imports bool) error {
	tag, isTag := strings.CutPrefix(name, "tag:")
	switch {
	case isTag && tag != "":
		k.tags = append(k.tags, types.Tag{TagKey: aws.String(tag), TagValue: aws.String(value)})
	case name == "description":
		k.description = value
	case name == "multi-region" && (value == "true" || value == "false"):
		k.multiRegion = value == "true"
	case name == "multi-region":
		return refused("multi-region=%s is neither true nor false", value)
	case name == "resume" && (value == resumeNone || isKeyARN(value)):
		k.resume = value
	case name == "resume":
		return refused("resume=%s is neither a key ARN nor %s", value, resumeNone)
	case name == "wrap" && !imports:
		return refused("wrap is for the import of a key: nothing is wrapped here")
	case name == "wrap" && (value == string(types.AlgorithmSpecRsaAesKeyWrapSha256) || value == string(types.AlgorithmSpecRsaesOaepSha256)):
		k.wrap = types.AlgorithmSpec(value)
	case name == "wrap":
		return refused("wrap=%s is neither %s nor %s", value, types.AlgorithmSpecRsaAesKeyWrapSha256, types.AlgorithmSpecRsaesOaepSha256)
	default:
		return refused("AWS KMS has no setting %q; it has %s", name, knownSettings)
	}
	return nil
}

func isKeyARN(s string) bool {
	_, resource, ok := splitARN(s)
	id, isKey := strings.CutPrefix(resource, "key/")
	return ok && isKey && matches(keyIDPattern, id)
}

// mark is how a key's description ends that was made for an alias, so that a run
// finds what an interrupted one left.
func (k making) mark() string { return "(jotsmith: " + k.alias + ")" }

func (k making) describe() string {
	return strings.TrimSpace(k.description + " " + k.mark())
}

func refused(format string, args ...any) error {
	return &backends.Error{Kind: backends.ErrNotMade, Err: fmt.Errorf(format, args...)}
}

// The steps of a making, with the permissions that they need.

func (k making) stepFree() backends.Step {
	return backends.Step{Does: "check that " + k.alias + " names no key", Needs: "kms:GetPublicKey"}
}

func (k making) stepRemnants() backends.Step {
	return backends.Step{Does: "look for keys that an interrupted run left for " + k.alias, Needs: "kms:ListKeys, kms:DescribeKey; it goes on without them"}
}

func (k making) stepResume() backends.Step {
	return backends.Step{Does: "look at the key " + k.resume, Needs: "kms:DescribeKey"}
}

func (k making) stepCreate(imports bool) backends.Step {
	s := backends.Step{Does: "create a KMS key of the key spec ECC_NIST_P256 and the key usage SIGN_VERIFY", Needs: "kms:CreateKey"}
	if imports {
		s.Does += ", of the origin EXTERNAL: without key material"
	}
	if k.multiRegion {
		s.Does += ", multi-Region"
		s.Needs += ", iam:CreateServiceLinkedRole for the account's first multi-Region key"
	}
	if len(k.tags) > 0 {
		s.Needs += ", kms:TagResource"
	}
	return s
}

func (k making) stepParameters() backends.Step {
	return backends.Step{Does: fmt.Sprintf("get a wrapping key of the spec %s and an import token", wrappingKeySpec), Needs: "kms:GetParametersForImport"}
}

func (k making) stepImport() backends.Step {
	return backends.Step{
		Does:  fmt.Sprintf("wrap the key, as PKCS#8, by %s and import it, never to expire", k.wrap),
		Needs: "kms:ImportKeyMaterial",
	}
}

func (k making) stepProve() backends.Step {
	return backends.Step{Does: "prove it: compare the public half, sign, verify", Needs: "kms:GetPublicKey, kms:Sign"}
}

func (k making) stepAlias() backends.Step {
	return backends.Step{Does: "create " + k.alias, Needs: "kms:CreateAlias on the alias and on the key"}
}

// steps is the whole of it.
func (k making) steps(imports bool) []backends.Step {
	steps := []backends.Step{k.stepFree()}
	switch k.resume {
	case "":
		steps = append(steps, k.stepRemnants(), k.stepCreate(imports))
	case resumeNone:
		steps = append(steps, k.stepCreate(imports))
	default:
		steps = append(steps, k.stepResume())
	}
	if imports {
		steps = append(steps, k.stepParameters(), k.stepImport())
	}
	return append(steps, k.stepProve(), k.stepAlias())
}
