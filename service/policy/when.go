package policy

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"

	"github.com/jotsmith/jotsmith/service/authn"
)

// MaxCost is what a condition may cost in CEL's own units, both as estimated
// before it is taken and each time that it is worked out: about a hundred
// comparisons of long strings, or well under a millisecond.
const MaxCost = 10_000

// What the estimate takes the caller's texts to be at most. A longer one costs
// more when it comes, and then the condition may not hold.
const (
	longText   = 2048
	manyClaims = 64
)

// Condition is a CEL expression that must be true for a rule to permit. It is
// safe for concurrent use.
type Condition struct {
	program cel.Program
}

// Compiler compiles conditions.
type Compiler struct {
	env *cel.Env
}

// NewCompiler returns a Compiler. It takes about a millisecond.
func NewCompiler() (*Compiler, error) {
	env, err := cel.NewEnv(
		// Each as a variable of its own, so that what a caller does not have
		// is absent and makes the condition fail, and is not 0 or "".
		cel.Variable("caller.kind", cel.StringType),
		cel.Variable("caller.name", cel.StringType),
		cel.Variable("caller.uid", cel.IntType),
		cel.Variable("caller.gid", cel.IntType),
		cel.Variable("caller.issuer", cel.StringType),
		cel.Variable("caller.claims", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("profile", cel.StringType),
	)
	if err != nil {
		return nil, err
	}
	return &Compiler{env}, nil
}

// Compile checks the types of an expression and estimates its cost. Its error
// says at which line and column of the expression each fault is, both counted
// from 1.
func (c *Compiler) Compile(text string) (*Condition, error) {
	ast, issues := c.env.Compile(text)
	if issues.Err() != nil {
		var faults []error
		for _, fault := range issues.Errors() {
			message := strings.TrimSuffix(fault.Message, " (in container '')")
			if strings.HasPrefix(message, "undeclared reference to 'ca") {
				message += "; there is caller.kind, .name, .uid, .gid, .issuer and .claims"
			}
			faults = append(faults, fmt.Errorf("at %d:%d: %s", fault.Location.Line(), fault.Location.Column()+1, message))
		}
		return nil, errors.Join(faults...)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("at 1:1: is of type %s; it has to be true or false", ast.OutputType())
	}
	cost, err := c.env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, err
	}
	if cost.Max > MaxCost {
		return nil, fmt.Errorf("at 1:1: could cost %d, over the limit of %d; compare fewer or shorter texts", cost.Max, MaxCost)
	}
	program, err := c.env.Program(ast, cel.CostLimit(MaxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("at 1:1: %w", err)
	}
	return &Condition{program}, nil
}

// sizes estimates how long the caller's texts are.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	switch node.Type().Kind() {
	case types.StringKind:
		return &checker.SizeEstimate{Max: longText}
	case types.MapKind:
		return &checker.SizeEstimate{Max: manyClaims}
	default:
		return nil
	}
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// holds says whether the condition is true. One that cannot be worked out, or
// only at too great a cost, is not.
func (c *Condition) holds(caller authn.Caller, profile string) bool {
	holds, err := c.eval(caller, profile)
	return holds && err == nil
}

func (c *Condition) eval(caller authn.Caller, profile string) (bool, error) {
	value, _, err := c.program.Eval(facts{caller, profile})
	if err != nil {
		return false, err
	}
	return value == types.True, nil
}

// facts are the variables of a condition.
type facts struct {
	caller  authn.Caller
	profile string
}

// Parent implements cel.Activation.
func (facts) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (f facts) ResolveName(variable string) (any, bool) {
	cred, isUnix := f.caller.Unix()
	token, isToken := f.caller.Token()
	names, isNames := f.caller.Names()
	switch variable {
	case "profile":
		return f.profile, true
	case "caller.kind":
		switch {
		case isUnix:
			return "unix", true
		case isNames:
			return "mtls", true
		case isToken:
			return "oidc", true
		case f.caller.Loopback():
			return "loopback", true
		}
	case "caller.name":
		if isToken {
			return token.Subject, true
		}
		return nameOf(names)
	case "caller.uid":
		return int64(cred.UID), isUnix
	case "caller.gid":
		return int64(cred.GID), isUnix
	case "caller.issuer":
		return token.Issuer, isToken
	case "caller.claims":
		if token.Claims == nil {
			return map[string]string{}, true
		}
		return token.Claims, true
	}
	return nil, false
}

// nameOf is the first name of a certificate.
func nameOf(names authn.Names) (any, bool) {
	switch {
	case names.URI != "":
		return names.URI, true
	case len(names.DNS) > 0:
		return names.DNS[0], true
	case len(names.Emails) > 0:
		return names.Emails[0], true
	}
	return nil, false
}
