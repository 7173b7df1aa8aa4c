package backends

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
)

func newScalar(t *testing.T) (scalar [32]byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(raw), key
}

func TestPrivateKeyIsWrittenAsX509WritesIt(t *testing.T) {
	for range 300 { // enough to meet a number with leading zeros
		scalar, key := newScalar(t)
		k, err := NewPrivateKey(scalar)
		if err != nil {
			t.Fatal(err)
		}
		if !k.Public().Equal(&key.PublicKey) {
			t.Fatal("another public half")
		}
		want, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.PKCS8()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, %v; want %x", got, err, want)
		}
		if cap(got) != len(got) {
			t.Fatalf("capacity %d of %d bytes: it was written into a guess", cap(got), len(got))
		}
	}
}

func TestPrivateKeyRefusesNumbersOutOfRange(t *testing.T) {
	for name, scalar := range map[string][32]byte{
		"zero": {}, "the order": [32]byte([]byte(order)), "all ones": [32]byte(bytes.Repeat([]byte{0xff}, 32)),
	} {
		if k, err := NewPrivateKey(scalar); err == nil {
			t.Errorf("%s gives %v", name, k)
		}
	}
}

func TestPrivateKeyShowsItselfToNobody(t *testing.T) {
	scalar, _ := newScalar(t)
	k, err := NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
	data, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %x %X %d %q", k, k, k, k, k, k, k, k), fmt.Sprintf("%v", struct{ K *PrivateKey }{k}),
		log.String(), string(data),
	} {
		for _, secret := range []string{fmt.Sprintf("%x", scalar), fmt.Sprintf("%X", scalar), fmt.Sprint(scalar[:4])[1:6]} {
			if strings.Contains(text, secret) {
				t.Errorf("it is in %s", text)
			}
		}
	}
}

func TestPrivateKeyIsWiped(t *testing.T) {
	scalar, key := newScalar(t)
	k, err := NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	public := *k.Public()
	shared := k.Scalar()
	k.Wipe()
	if !bytes.Equal(shared, make([]byte, 32)) {
		t.Error("the number is still there")
	}
	if !k.Public().Equal(&public) || !k.Public().Equal(&key.PublicKey) {
		t.Error("the public half is gone")
	}
	words := key.D.Bits() //nolint:staticcheck // to see that it is overwritten
	Forget(key)
	for _, word := range words {
		if word != 0 {
			t.Error("crypto/ecdsa's number is still there")
		}
	}
	Forget(nil)
}

func TestUnfinishedSaysWhatIsLeftAndWhatToDo(t *testing.T) {
	cause := fmt.Errorf("no answer")
	err := &Error{Op: "import", KeyID: "alias/a", Kind: ErrUnavailable, Err: &UnfinishedError{
		Left: []Remnant{{What: "the key ARN", Resume: "resume=ARN", Remove: "aws kms x"}, {What: "a file", Remove: "rm f"}}, Err: cause,
	}}
	want := "import alias/a: key store is unavailable: no answer: left is the key ARN, go on with it by --set resume=ARN, " +
		"remove it by aws kms x; left is a file, remove it by rm f"
	if err.Error() != want {
		t.Errorf("%s\nwant %s", err, want)
	}
}

func TestCommandIsQuotedForAShell(t *testing.T) {
	words := []string{"printf", "%s\n", "plain/a.p8", "two words", "it's", "$HOME", "", "a\nb", "-x"}
	out, err := exec.Command("sh", "-c", Command(words...)).Output()
	if want := strings.Join(words[2:], "\n") + "\n"; err != nil || string(out) != want {
		t.Errorf("%s: %q, %v", Command(words...), out, err)
	}
	if got := Command("rm", "/etc/jotsmith/keys/.k.p8.new"); got != "rm /etc/jotsmith/keys/.k.p8.new" {
		t.Error(got)
	}
}
