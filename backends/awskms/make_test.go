package awskms_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// The emulator unwraps what is imported with its own RSA key, by Python's
// cryptography, and signs with it.
func TestMakerContract(t *testing.T) {
	fakeCredentials(t)
	m := startMinistack(t)
	runMakerContract(t, "awskms:?rate=100000&region="+region+"&endpoint="+m.url)
}

func TestMakerContractOnTheFake(t *testing.T) {
	fakeCredentials(t)
	s, _ := startFake(t, newKey(t))
	runMakerContract(t, s.URI("rate=100000"))
}

func runMakerContract(t *testing.T, uri string) {
	backendtest.RunMaker(t, backendtest.MakerHarness{
		OpenMaker:  func(t *testing.T) backendtest.Maker { return openMaker(t, uri) },
		Open:       func(t *testing.T) backends.KeyBackend { return open(t, uri) },
		ID:         func(n int) string { return fmt.Sprintf("alias/made/%d", n) },
		Malformed:  append(malformedIDs(), "alias/aws/rds", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-west-1:111122223333:alias/made"),
		LeavesKeys: true,
		Secrets:    []string{secretKey},
	})
}

func openMaker(t *testing.T, uri string) *awskms.Maker {
	t.Helper()
	m, err := awskms.OpenMaker(t.Context(), uri, discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// how is a making whose proof signs by a backend of its own.
func how(t *testing.T, uri string, settings ...string) backends.Making {
	t.Helper()
	b := open(t, uri)
	set := map[string]string{}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		set[name] = value
	}
	return backends.Making{
		Random: rand.Reader, Settings: set,
		Prove: func(ctx context.Context, id string) error {
			info, err := b.Describe(ctx, id)
			if err != nil {
				return err
			}
			sig, err := b.Sign(ctx, id, backends.Digest{1})
			if err == nil && !sig.Verify(info.PublicKey, backends.Digest{1}) {
				err = errors.New("it does not verify")
			}
			return err
		},
	}
}

func private(t *testing.T, key *ecdsa.PrivateKey) *backends.PrivateKey {
	t.Helper()
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p, err := backends.NewPrivateKey([32]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestImportByEitherWrapping(t *testing.T) {
	fakeCredentials(t)
	m := startMinistack(t)
	uri := "awskms:?region=" + region + "&endpoint=" + m.url
	for _, wrap := range []string{"RSA_AES_KEY_WRAP_SHA_256", "RSAES_OAEP_SHA_256"} {
		key := newKey(t)
		id := "alias/" + wrap
		made, err := openMaker(t, uri).Import(t.Context(), id, private(t, key), how(t, uri, "wrap="+wrap, "description=for tests", "tag:team=payments"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			t.Fatal(err)
		}
		metadata := out.KeyMetadata
		got := []string{
			aws.ToString(metadata.Arn), string(metadata.Origin), string(metadata.KeySpec), string(metadata.KeyUsage),
			string(metadata.ExpirationModel), aws.ToString(metadata.Description), fmt.Sprint(aws.ToBool(metadata.MultiRegion)),
		}
		want := []string{
			made.CanonicalID, "EXTERNAL", "ECC_NIST_P256", "SIGN_VERIFY", "KEY_MATERIAL_DOES_NOT_EXPIRE", "for tests (jotsmith: " + id + ")", "false",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the key's metadata:\n%s", diff)
		}
		tags, err := m.ListResourceTags(t.Context(), &kms.ListResourceTagsInput{KeyId: &made.CanonicalID})
		if err != nil || len(tags.Tags) != 1 || aws.ToString(tags.Tags[0].TagKey) != "team" || aws.ToString(tags.Tags[0].TagValue) != "payments" {
			t.Errorf("tags %v, %v", tags, err)
		}
		if !m.public(t, id).Equal(&key.PublicKey) {
			t.Error("the emulator has another key")
		}
	}
}

func TestMultiRegionKey(t *testing.T) {
	fakeCredentials(t)
	m := startMinistack(t)
	uri := "awskms:?region=" + region + "&endpoint=" + m.url
	made, err := openMaker(t, uri).Generate(t.Context(), "alias/everywhere", how(t, uri, "multi-region=true"))
	if err != nil || !strings.Contains(made.CanonicalID, ":key/mrk-") {
		t.Errorf("%v, %v", made, err)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	fakeCredentials(t)
	s, _ := startFake(t, newKey(t))
	m := openMaker(t, s.URI())
	for setting, want := range map[string]string{
		"wrap=RSAES_PKCS1_V1_5": "RSA_AES_KEY_WRAP_SHA_256",
		"multi-region=yes":      "neither true nor false",
		"resume=alias/a":        "neither a key ARN nor none",
		"tag:=x":                "no setting",
		"Multi-Region=true":     "it has description, multi-region",
	} {
		_, err := m.Import(t.Context(), "alias/a", private(t, newKey(t)), how(t, s.URI(), setting))
		if !errors.Is(err, backends.ErrNotMade) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	if _, err := m.Generate(t.Context(), "alias/a", how(t, s.URI(), "wrap=RSAES_OAEP_SHA_256")); !errors.Is(err, backends.ErrNotMade) {
		t.Error(err)
	}
	if n := len(s.Keys()); n > 0 || s.Calls(kmsfake.CreateKey) > 0 {
		t.Errorf("%d keys were made", n)
	}
}

// What is sent has the shape that AWS's own model of KMS gives it: no unknown
// member, none missing that is required, no value that an enumeration lacks. The
// model is botocore's, of which the SDK for Go shares no code.
func TestRequestsFitTheModelOfKMS(t *testing.T) {
	fakeCredentials(t)
	s, _ := startFake(t, newKey(t))
	m := openMaker(t, s.URI())
	if _, err := m.Generate(t.Context(), "alias/made", how(t, s.URI(), "multi-region=true", "description=for tests", "tag:team=payments")); err != nil {
		t.Fatal(err)
	}
	for i, wrap := range []string{"RSA_AES_KEY_WRAP_SHA_256", "RSAES_OAEP_SHA_256"} {
		if _, err := m.Import(t.Context(), fmt.Sprintf("alias/%d", i), private(t, newKey(t)), how(t, s.URI(), "wrap="+wrap)); err != nil {
			t.Fatal(err)
		}
	}
	requests, err := json.Marshal(s.Bodies())
	if err != nil {
		t.Fatal(err)
	}
	const script = `
import base64, json, sys
import botocore.session
model = botocore.session.get_session().get_service_model("kms")

def check(shape, value, at):
    if shape.type_name == "structure":
        assert isinstance(value, dict), at
        unknown, missing = set(value) - set(shape.members), set(shape.required_members) - set(value)
        assert not unknown and not missing, f"{at}: unknown {unknown}, missing {missing}"
        for name in value:
            check(shape.members[name], value[name], f"{at}.{name}")
    elif shape.type_name == "list":
        for item in value:
            check(shape.member, item, f"{at}[]")
    elif shape.type_name == "blob":
        n = len(base64.b64decode(value, validate=True))
        assert shape.metadata.get("min", 0) <= n <= shape.metadata.get("max", n), f"{at}: {n} bytes"
    else:
        kind = {"string": str, "boolean": bool, "integer": int}[shape.type_name]
        assert isinstance(value, kind), f"{at}: {value!r}"
        assert not getattr(shape, "enum", None) or value in shape.enum, f"{at}: {value!r} is not of {shape.enum}"
        if kind is str:
            assert shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", len(value)), f"{at}: length {len(value)}"

requests = json.load(sys.stdin)
for r in requests:
    check(model.operation_model(r["Operation"]).input_shape, r["Body"], r["Operation"])
print(sorted({r["Operation"] for r in requests}))
`
	cmd := exec.Command(filepath.Join(venvBin(t), "python"), "-c", script)
	cmd.Env = []string{"HOME=" + t.TempDir()} // none of what the SDK for Go is told
	cmd.Stdin = bytes.NewReader(requests)
	out, err := cmd.CombinedOutput()
	const want = "['CreateAlias', 'CreateKey', 'DescribeKey', 'GetParametersForImport', 'ImportKeyMaterial', 'ListKeys']\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
}

// A failure at each call says what is left, and the next run goes on with it.
func TestFaultsOfAnImport(t *testing.T) {
	fakeCredentials(t)
	wrapping, _ := startFake(t, newKey(t))
	denied := func(operation string) kmsfake.Fault {
		return kmsfake.Fault{Operation: operation, Times: 1, Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "no " + operation}
	}
	throttled := func(operation string) kmsfake.Fault {
		return kmsfake.Fault{Operation: operation, Times: 1, Status: http.StatusBadRequest, Code: "ThrottlingException", Message: "Rate exceeded"}
	}
	for _, c := range []struct {
		name  string
		fault kmsfake.Fault
		kind  error // nil: it goes well
		left  bool
	}{
		{"GetPublicKey denied", denied(kmsfake.GetPublicKey), backends.ErrAccessDenied, false},
		{"ListKeys denied", denied(kmsfake.ListKeys), nil, false},
		{"DescribeKey denied", denied(kmsfake.DescribeKey), nil, false},
		{"CreateKey denied", denied(kmsfake.CreateKey), backends.ErrAccessDenied, false},
		{"GetParametersForImport denied", denied(kmsfake.GetParametersForImport), backends.ErrAccessDenied, true},
		{"ImportKeyMaterial denied", denied(kmsfake.ImportKeyMaterial), backends.ErrAccessDenied, true},
		{"Sign denied", denied(kmsfake.Sign), backends.ErrAccessDenied, true},
		{"CreateAlias denied", denied(kmsfake.CreateAlias), backends.ErrAccessDenied, true},
		{"ListKeys throttled", throttled(kmsfake.ListKeys), backends.ErrThrottled, false},
		{"CreateKey throttled", throttled(kmsfake.CreateKey), backends.ErrThrottled, false},
		{"GetParametersForImport throttled", throttled(kmsfake.GetParametersForImport), backends.ErrThrottled, true},
		{"ImportKeyMaterial throttled", throttled(kmsfake.ImportKeyMaterial), backends.ErrThrottled, true},
		{"CreateAlias throttled", throttled(kmsfake.CreateAlias), backends.ErrThrottled, true},
		{"CreateKey unanswered, and not done", kmsfake.Fault{Operation: kmsfake.CreateKey, Times: 1, Reset: true}, backends.ErrUnavailable, false},
		{"CreateKey unanswered, and done", kmsfake.Fault{Operation: kmsfake.CreateKey, Times: 1, LostAnswer: true}, backends.ErrUnavailable, true},
		{"GetParametersForImport unanswered once", kmsfake.Fault{Operation: kmsfake.GetParametersForImport, Times: 1, LostAnswer: true}, nil, false},
		{"ImportKeyMaterial unanswered once", kmsfake.Fault{Operation: kmsfake.ImportKeyMaterial, Times: 1, LostAnswer: true}, nil, false},
		{"CreateAlias unanswered once", kmsfake.Fault{Operation: kmsfake.CreateAlias, Times: 1, LostAnswer: true}, nil, false},
		{"the token expired once", kmsfake.Fault{Operation: kmsfake.ImportKeyMaterial, Times: 1, Status: 400, Code: "ExpiredImportTokenException"}, nil, false},
		{"the token expires always", kmsfake.Fault{Operation: kmsfake.ImportKeyMaterial, Times: 2, Status: 400, Code: "ExpiredImportTokenException"}, backends.ErrUnavailable, true},
		{"a new key is not known at once", kmsfake.Fault{Operation: kmsfake.GetParametersForImport, Times: 2, Status: 400, Code: "NotFoundException"}, nil, false},
		{"a wrapping key that is none", kmsfake.Fault{Operation: kmsfake.GetParametersForImport, Times: 1, Bytes: func([]byte) []byte { return []byte("x") }}, backends.ErrUnavailable, true},
		{"another key's wrapping key", kmsfake.Fault{Operation: kmsfake.GetParametersForImport, Times: 1, KeyID: "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}, backends.ErrKeyMismatch, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := startFake(t, newKey(t))
			s.ShareWrappingKey(wrapping)
			s.Inject(c.fault)
			key := newKey(t)
			m := openMaker(t, s.URI())
			made, err := m.Import(t.Context(), "alias/a", private(t, key), how(t, s.URI()))
			unfinished, left := errors.AsType[*backends.UnfinishedError](err)
			if left != c.left || c.kind == nil && err != nil || c.kind != nil && !errors.Is(err, c.kind) {
				t.Fatalf("%v, want %v, with something left: %v", err, c.kind, c.left)
			}
			s.Clear()
			if left {
				if len(s.Keys()) != 1 || len(unfinished.Left) != 1 || !strings.Contains(unfinished.Left[0].Remove, s.Keys()[0]) || !strings.Contains(err.Error(), s.Keys()[0]) {
					t.Fatalf("the keys are %v, and what is left %v", s.Keys(), unfinished.Left)
				}
				again, err := m.Import(t.Context(), "alias/a", private(t, key), how(t, s.URI()))
				if found, ok := errors.AsType[*backends.UnfinishedError](err); !errors.Is(err, backends.ErrUnfinished) || !ok || found.Left[0].Resume != "resume="+s.Keys()[0] {
					t.Fatalf("the next run says %v, %v", again, err)
				}
			}
			if err != nil {
				settings := []string{}
				if left {
					settings = append(settings, "resume="+s.Keys()[0])
				}
				if made, err = m.Import(t.Context(), "alias/a", private(t, key), how(t, s.URI(), settings...)); err != nil {
					t.Fatalf("going on: %v", err)
				}
			}
			if !made.PublicKey.Equal(&key.PublicKey) || len(s.Keys()) != 1 || made.CanonicalID != s.Keys()[0] {
				t.Errorf("made %v of %v", made, s.Keys())
			}
		})
	}
}

// A store that has taken in another key than it was given, or says so, is found
// out, and what it has never gets the alias.
func TestImportWhoseTargetHasAnotherKey(t *testing.T) {
	fakeCredentials(t)
	key, other := newKey(t), newKey(t)
	wrapping, _ := startFake(t, newKey(t))
	for name, c := range map[string]struct {
		fault kmsfake.Fault
		kind  error
		want  string
	}{
		"another public half": {
			kmsfake.Fault{Operation: kmsfake.GetPublicKey, Bytes: func([]byte) []byte { return mustSPKI(t, other) }},
			backends.ErrKeyMismatch, "another key's public half",
		},
		"another key's signature": {kmsfake.Fault{Operation: kmsfake.Sign, WrongDigest: true}, backends.ErrUnavailable, "it does not verify"},
		"another key ARN": {
			kmsfake.Fault{Operation: kmsfake.Sign, KeyID: "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
			backends.ErrKeyMismatch, "1234abcd",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := startFake(t, newKey(t))
			s.ShareWrappingKey(wrapping)
			making := how(t, s.URI())
			making.Report = func(step backends.Step, outcome string) {
				if outcome == "" && strings.HasPrefix(step.Does, "prove") {
					s.Inject(c.fault)
				}
			}
			_, err := openMaker(t, s.URI()).Import(t.Context(), "alias/a", private(t, key), making)
			unfinished, left := errors.AsType[*backends.UnfinishedError](err)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !left || !strings.Contains(err.Error(), s.Keys()[0]) {
				t.Fatal(err)
			}
			if errors.Is(err, backends.ErrKeyMismatch) && unfinished.Left[0].Resume != "" {
				t.Error("it would go on with the wrong key")
			}
			if s.Calls(kmsfake.CreateAlias) > 0 {
				t.Error("it got the alias all the same")
			}
		})
	}
}

func TestGenerateWhoseAliasFails(t *testing.T) {
	fakeCredentials(t)
	s, _ := startFake(t, newKey(t))
	s.Inject(kmsfake.Fault{Operation: kmsfake.CreateAlias, Times: 1, Status: 400, Code: "AccessDeniedException"})
	m := openMaker(t, s.URI())
	_, err := m.Generate(t.Context(), "alias/a", how(t, s.URI()))
	keyARN := s.Keys()[0]
	for _, want := range []string{keyARN, "aws kms schedule-key-deletion --region eu-west-1 --pending-window-in-days 7 --key-id " + keyARN, "--set resume=" + keyARN} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%v does not say %q", err, want)
		}
	}
	// The mark is the alias's own: that of another is not taken for it.
	if _, err := m.Generate(t.Context(), "alias/aa", how(t, s.URI())); err != nil {
		t.Error(err)
	}
	if _, err := m.Generate(t.Context(), "alias/b", how(t, s.URI(), "resume="+keyARN)); !errors.Is(err, backends.ErrNotMade) {
		t.Errorf("another alias goes on with it: %v", err)
	}
	if _, err := m.Import(t.Context(), "alias/a", private(t, newKey(t)), how(t, s.URI(), "resume="+keyARN)); !errors.Is(err, backends.ErrNotMade) {
		t.Errorf("an import goes on with it: %v", err)
	}
	made, err := m.Generate(t.Context(), "alias/a", how(t, s.URI(), "resume="+keyARN))
	if err != nil || made.CanonicalID != keyARN {
		t.Errorf("%v, %v", made, err)
	}
	// One who knows better.
	if _, err := m.Generate(t.Context(), "alias/c", how(t, s.URI(), "resume=none")); err != nil {
		t.Error(err)
	}
}

// An alias that another run takes while this one makes its key.
func TestAliasTakenMeanwhile(t *testing.T) {
	fakeCredentials(t)
	s, there := startFake(t, newKey(t))
	making := how(t, s.URI())
	prove := making.Prove
	making.Prove = func(ctx context.Context, id string) error {
		s.SetAlias("alias/a", there)
		return prove(ctx, id)
	}
	_, err := openMaker(t, s.URI()).Import(t.Context(), "alias/a", private(t, newKey(t)), making)
	if _, left := errors.AsType[*backends.UnfinishedError](err); !errors.Is(err, backends.ErrKeyExists) || !left {
		t.Error(err)
	}
	if info, err := open(t, s.URI()).Describe(t.Context(), "alias/a"); err != nil || info.CanonicalID != there {
		t.Errorf("the alias was re-pointed: %v, %v", info, err)
	}
}

// A black hole ends with the caller's context, and what may be left is said.
func TestBlackHoleWhileMaking(t *testing.T) {
	fakeCredentials(t)
	wrapping, _ := startFake(t, newKey(t))
	for _, operation := range []string{
		kmsfake.GetPublicKey, kmsfake.ListKeys, kmsfake.CreateKey, kmsfake.GetParametersForImport, kmsfake.ImportKeyMaterial, kmsfake.Sign, kmsfake.CreateAlias,
	} {
		t.Run(operation, func(t *testing.T) {
			s, _ := startFake(t, newKey(t))
			s.ShareWrappingKey(wrapping)
			making := how(t, s.URI())
			making.Report = func(backends.Step, string) {
				if operation == kmsfake.GetPublicKey || s.Calls(kmsfake.GetPublicKey) > 0 {
					s.Inject(kmsfake.Fault{Operation: operation, Hang: true, Times: 1})
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			go func() { // the limit, but as soon as it hangs
				for s.Calls(operation) == 0 && ctx.Err() == nil {
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(50 * time.Millisecond)
				cancel()
			}()
			start := time.Now()
			_, err := openMaker(t, s.URI()).Import(ctx, "alias/a", private(t, newKey(t)), making)
			if err == nil || time.Since(start) > 20*time.Second {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
			if _, left := errors.AsType[*backends.UnfinishedError](err); left != (len(s.Keys()) > 0) {
				t.Errorf("%v, with the keys %v", err, s.Keys())
			}
		})
	}
}

// A run that is killed leaves nothing, or a key without an alias, of which the
// next run says which it is and how to go on.
func TestKilledAtEachStep(t *testing.T) {
	const uriVariable, scalarVariable = "JOTSMITH_TEST_URI", "JOTSMITH_TEST_SCALAR"
	fakeCredentials(t)
	if report := backendtest.Victim(); report != nil {
		scalar, err := hex.DecodeString(os.Getenv(scalarVariable))
		if err != nil {
			t.Fatal(err)
		}
		key, err := backends.NewPrivateKey([32]byte(scalar))
		if err != nil {
			t.Fatal(err)
		}
		making := how(t, os.Getenv(uriVariable))
		making.Report = report
		if _, err := openMaker(t, os.Getenv(uriVariable)).Import(t.Context(), "alias/a", key, making); err != nil {
			t.Fatal(err)
		}
		return
	}
	wrapping, _ := startFake(t, newKey(t))
	deaths, remnants := 0, 0
	for n := 1; ; n++ {
		s, _ := startFake(t, newKey(t))
		s.ShareWrappingKey(wrapping)
		key := newKey(t)
		raw, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !backendtest.KilledAt(t, n, uriVariable+"="+s.URI(), scalarVariable+"="+hex.EncodeToString(raw)) {
			break
		}
		deaths++
		m := openMaker(t, s.URI())
		made, err := m.Import(t.Context(), "alias/a", private(t, key), how(t, s.URI()))
		if unfinished, ok := errors.AsType[*backends.UnfinishedError](err); ok {
			remnants++
			if !errors.Is(err, backends.ErrUnfinished) || len(unfinished.Left) != 1 || !strings.Contains(unfinished.Left[0].What, s.Keys()[0]) {
				t.Fatalf("killed at report %d, the next run says %v", n, err)
			}
			made, err = m.Import(t.Context(), "alias/a", private(t, key), how(t, s.URI(), unfinished.Left[0].Resume))
		}
		if err != nil || !made.PublicKey.Equal(&key.PublicKey) || len(s.Keys()) != 1 {
			t.Errorf("killed at report %d, and in the end %v, %v, of the keys %v", n, made, err, s.Keys())
		}
	}
	if deaths < 12 || remnants < 6 {
		t.Errorf("%d deaths, %d remnants", deaths, remnants)
	}
}
