package filekey

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// opensslText returns what the openssl command prints. It is a second source
// of key files, and the only one of curves that Go does not know.
func opensslText(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// keyFile writes text where openssl can read it.
func keyFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const paramsP256 = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

func TestParseKeyAccepts(t *testing.T) {
	key := newKeyOn(t, elliptic.P256())
	p8, sec := pkcs8(t, key), sec1(t, key)
	p8File, secFile := keyFile(t, p8), keyFile(t, sec)
	for name, text := range map[string]string{
		"PKCS#8":                            p8,
		"SEC 1":                             sec,
		"EC PARAMETERS first":               paramsP256 + sec,
		"EC PARAMETERS before PKCS#8":       paramsP256 + p8,
		"SEC 1, curve in EC PARAMETERS":     paramsP256 + sec1Text(scalarOf(key), nil, nil),
		"CRLF":                              strings.ReplaceAll(p8, "\n", "\r\n"),
		"CRLF, EC PARAMETERS first":         strings.ReplaceAll(paramsP256+sec, "\n", "\r\n"),
		"CR":                                strings.ReplaceAll(p8, "\n", "\r"),
		"no final newline":                  strings.TrimSuffix(p8, "\n"),
		`\n as two characters`:              strings.ReplaceAll(p8, "\n", `\n`),
		`\n as two characters, none at end`: strings.TrimSuffix(strings.ReplaceAll(p8, "\n", `\n`), `\n`),
		`\r\n as four characters`:           strings.ReplaceAll(p8, "\n", `\r\n`),
		`\n and a newline`:                  strings.ReplaceAll(p8, "\n", "\\n\n"),
		`\n, EC PARAMETERS first`:           strings.ReplaceAll(paramsP256+sec, "\n", `\n`),
		"empty lines around":                "\n\n" + p8 + "\n  \n",
		"one long line":                     oneLine(p8),
		"no public part":                    pkcs8Text(0, sec1DER(scalarOf(key), nil, nil), nil),
		"curve named inside too":            pkcs8Text(0, sec1DER(scalarOf(key), oidDER, nil), nil),
		"compressed public part":            pkcs8Text(0, sec1DER(scalarOf(key), nil, compressed(key)), nil),
		"public part after RFC 5958":        pkcs8Text(1, sec1DER(scalarOf(key), nil, nil), uncompressed(key)),
		"a zero before the number":          pkcs8Text(0, sec1DER(append([]byte{0}, scalarOf(key)...), nil, uncompressed(key)), nil),
		"openssl pkey":                      opensslText(t, "pkey", "-in", secFile),
		"openssl ec":                        opensslText(t, "ec", "-in", p8File),
		"openssl ec, no public part":        opensslText(t, "ec", "-in", p8File, "-no_public"),
		"openssl ec, compressed":            opensslText(t, "ec", "-in", p8File, "-conv_form", "compressed"),
		"openssl pkcs8":                     opensslText(t, "pkcs8", "-topk8", "-nocrypt", "-in", secFile),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseKey([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(key) {
				t.Error("another key")
			}
		})
	}
	t.Run("openssl ecparam -genkey", func(t *testing.T) {
		text := opensslText(t, "ecparam", "-name", "prime256v1", "-genkey")
		if !strings.HasPrefix(text, paramsP256) {
			t.Fatal("openssl writes no EC PARAMETERS block")
		}
		if _, err := parseKey([]byte(text)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a number with leading zeros dropped", func(t *testing.T) {
		got, err := parseKey([]byte(pkcs8Text(0, sec1DER([]byte{7}, nil, nil), nil)))
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := got.Bytes(); err != nil || hex.EncodeToString(raw) != strings.Repeat("00", 31)+"07" {
			t.Errorf("private number %x, %v", raw, err)
		}
	})
}

func TestParseKeyRefuses(t *testing.T) {
	key := newKeyOn(t, elliptic.P256())
	p8, sec := pkcs8(t, key), sec1(t, key)
	p8File := keyFile(t, p8)
	block, _ := pem.Decode([]byte(p8))
	secBlock, _ := pem.Decode([]byte(sec))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	xKey, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	order := elliptic.P256().Params().N.Bytes()
	legacy := opensslText(t, "ec", "-in", p8File, "-aes128", "-passout", "pass:secret")
	if !strings.Contains(legacy, "Proc-Type: 4,ENCRYPTED") {
		t.Fatal("openssl writes no legacy encrypted PEM")
	}

	const (
		p256Only = ": ES256 signs with P-256 keys only: name such a key's file, or make one with " +
			"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"
		nameIt    = ": name the file of the private key"
		encrypted = "the file holds an encrypted key: decrypt it with openssl pkey -in FILE -out NEW, and let only this program read the result"
		again     = ": copy the whole file again, from -----BEGIN to -----END"
		after     = "text follows the PEM block: remove everything after the -----END line"
		before    = "text stands before the PEM block: remove everything ahead of the -----BEGIN line"
		badBlock  = "the PEM block is damaged" + again
		badDER    = "the key's DER is damaged" + again
		badNumber = "the private number is 0 or too large for P-256: the file is damaged or forged, make a new key"
		badPublic = "the public part in the file is another key's: the file is damaged or forged, get the key again from where it was made"
		isDER     = "the file is DER, not PEM: convert it with openssl pkey -inform DER -in FILE -out NEW"
		empty     = "the file is empty: copy the key into it again"
		two       = "the file holds 2 PEM blocks: keep one private key per file and nothing else"
	)
	for name, c := range map[string]struct{ text, want string }{
		"empty":                      {"", empty},
		"white space":                {" \r\n\t", empty},
		`only \n`:                    {`\n\n`, empty},
		"RSA":                        {pkcs8(t, rsaKey), "the file holds an RSA key" + p256Only},
		"RSA, PKCS#1":                {pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), "the file holds an RSA key" + p256Only},
		"Ed25519":                    {pkcs8(t, edKey), "the file holds an Ed25519 key" + p256Only},
		"Ed448":                      {opensslText(t, "genpkey", "-algorithm", "ed448"), "the file holds an Ed448 key" + p256Only},
		"X25519":                     {pkcs8(t, xKey), "the file holds a key for key agreement" + p256Only},
		"DSA":                        {pemText("DSA PRIVATE KEY", secBlock.Bytes), "the file holds a DSA key" + p256Only},
		"P-224":                      {pkcs8(t, newKeyOn(t, elliptic.P224())), "the key is on the curve P-224" + p256Only},
		"P-384":                      {pkcs8(t, newKeyOn(t, elliptic.P384())), "the key is on the curve P-384" + p256Only},
		"P-384, SEC 1":               {sec1(t, newKeyOn(t, elliptic.P384())), "the key is on the curve P-384" + p256Only},
		"P-521":                      {pkcs8(t, newKeyOn(t, elliptic.P521())), "the key is on the curve P-521" + p256Only},
		"secp256k1":                  {opensslText(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "the key is on the curve secp256k1" + p256Only},
		"secp256k1, EC PARAMETERS":   {opensslText(t, "ecparam", "-name", "secp256k1", "-genkey"), "the key is on the curve secp256k1" + p256Only},
		"brainpoolP256r1":            {opensslText(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"), "the key is on another curve" + p256Only},
		"P-256 spelt out":            {opensslText(t, "ec", "-in", p8File, "-param_enc", "explicit"), "the key spells out its curve instead of naming it: write it anew with openssl ec -in FILE -param_enc named_curve -out NEW"},
		"no curve named":             {sec1Text(scalarOf(key), nil, nil), "the key does not name its curve: put the EC PARAMETERS block that belongs to it ahead of it, or export it as PKCS#8"},
		"public key":                 {pemText("PUBLIC KEY", public), "the file holds a public key" + nameIt},
		"certificate":                {opensslText(t, "req", "-x509", "-new", "-key", p8File, "-subj", "/CN=x", "-days", "1"), "the file holds a certificate" + nameIt},
		"certificate request":        {opensslText(t, "req", "-new", "-key", p8File, "-subj", "/CN=x"), "the file holds a certificate request" + nameIt},
		"curve parameters alone":     {paramsP256, "the file holds curve parameters and no key" + nameIt},
		"OpenSSH":                    {pemText("OPENSSH PRIVATE KEY", []byte("openssh-key-v1")), "the file holds a key in OpenSSH's format: convert a copy with ssh-keygen -p -m PKCS8 -f FILE"},
		"a block of unknown kind":    {pemText("SECRET SAUCE", block.Bytes), "the file holds a PEM block that is no private key" + nameIt},
		"encrypted PKCS#8":           {opensslText(t, "pkcs8", "-topk8", "-in", p8File, "-passout", "pass:secret"), encrypted},
		"encrypted, legacy":          {legacy, encrypted},
		"header lines":               {strings.Replace(p8, "\n", "\nOwner: me\n\n", 1), "the PEM block has header lines: remove the lines between BEGIN and the first empty line"},
		"two keys":                   {p8 + pkcs8(t, newKeyOn(t, elliptic.P256())), two},
		"the same key twice":         {p8 + sec, two},
		"key and certificate":        {p8 + pemText("CERTIFICATE", public), two},
		"EC PARAMETERS after":        {sec + paramsP256, two},
		"EC PARAMETERS twice":        {paramsP256 + paramsP256 + sec, two},
		"another curve's PARAMETERS": {pemText("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 34}) + sec, "the key is on the curve P-384" + p256Only},
		"junk after":                 {p8 + "# our key\n", after},
		"junk after END":             {strings.TrimSuffix(p8, "\n") + " x", badBlock},
		"a cut block after":          {p8 + p8[:60], badBlock},
		"junk before":                {"# our key\n" + p8, before},
		"byte order mark":            {"\ufeff" + p8, before},
		"openssl -text":              {opensslText(t, "pkey", "-in", p8File, "-text"), after},
		"in quotes":                  {`"` + p8 + `"`, before},
		"cut off":                    {p8[:len(p8)/2], badBlock},
		"a damaged block before":     {p8[:60] + "\n" + p8, badBlock},
		"a line damaged":             {strings.Replace(p8, "\n", "\n!!", 1), badBlock},
		"spaces instead of newlines": {strings.ReplaceAll(p8, "\n", " "), badBlock},
		"DER":                        {string(block.Bytes), isDER},
		"DER, SEC 1":                 {string(secBlock.Bytes), isDER},
		"no PEM":                     {"hunter2", "the file is not PEM" + again},
		"bare base64":                {strings.Join(lines(p8), "\n"), "the file is not PEM" + again},
		"number 0":                   {pkcs8Text(0, sec1DER(make([]byte, 32), nil, nil), nil), badNumber},
		"number n":                   {pkcs8Text(0, sec1DER(order, nil, nil), nil), badNumber},
		"number n, SEC 1":            {sec1Text(order, oidDER, nil), badNumber},
		"number of 33 bytes":         {pkcs8Text(0, sec1DER(append([]byte{1}, make([]byte, 32)...), nil, nil), nil), badNumber},
		"another public part":        {pkcs8Text(0, sec1DER(scalarOf(key), nil, uncompressed(newKeyOn(t, elliptic.P256()))), nil), badPublic},
		"another public part, SEC 1": {sec1Text(scalarOf(key), oidDER, uncompressed(newKeyOn(t, elliptic.P256()))), badPublic},
		"another, RFC 5958":          {pkcs8Text(1, sec1DER(scalarOf(key), nil, nil), uncompressed(newKeyOn(t, elliptic.P256()))), badPublic},
		"public part negated":        {pkcs8Text(0, sec1DER(scalarOf(key), nil, negated(key)), nil), badPublic},
		"public part empty":          {pkcs8Text(0, sec1DER(scalarOf(key), nil, []byte{}), nil), badPublic},
		"DER with a byte after":      {pemText("PRIVATE KEY", append(slices.Clip(block.Bytes), 0)), badDER},
		"DER cut off":                {pemText("PRIVATE KEY", block.Bytes[:40]), badDER},
		"DER empty":                  {pemText("PRIVATE KEY", nil), badDER},
		"SEC 1 with a byte after":    {pemText("EC PRIVATE KEY", append(slices.Clip(secBlock.Bytes), 0)), badDER},
		"PKCS#8 labelled SEC 1":      {pemText("EC PRIVATE KEY", block.Bytes), badDER},
		"SEC 1 labelled PKCS#8":      {pemText("PRIVATE KEY", secBlock.Bytes), "the block says PRIVATE KEY and holds an EC PRIVATE KEY: correct the BEGIN and END lines"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseKey([]byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != c.want {
				t.Errorf("\n got %s\nwant %s", err, c.want)
			}
			for _, part := range lines(p8) {
				if strings.Contains(err.Error(), part) {
					t.Error("the error holds key bytes")
				}
			}
		})
	}
}

func FuzzParseKey(f *testing.F) {
	key := newKeyOn(f, elliptic.P256())
	for _, text := range []string{
		"", pkcs8(f, key), sec1(f, key), paramsP256 + sec1(f, key),
		strings.ReplaceAll(pkcs8(f, key), "\n", `\n`), pkcs8(f, newKeyOn(f, elliptic.P384())),
		pkcs8Text(1, sec1DER(scalarOf(key), oidDER, compressed(key)), uncompressed(key)),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := parseKey(bytes.Clone(data)) // it overwrites what it reads
		if err != nil {
			if key != nil {
				t.Error("an error and a key")
			}
			return
		}
		// What is accepted survives being written by the standard library.
		again, err := parseKey([]byte(pkcs8(t, key)))
		if err != nil || !again.Equal(key) {
			t.Errorf("written and read again: %v", err)
		}
		if point, err := key.PublicKey.Bytes(); err != nil {
			t.Error(err)
		} else if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			t.Error(err)
		}
	})
}
