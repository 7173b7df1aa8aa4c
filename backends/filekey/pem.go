package filekey

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	labelPKCS8  = "PRIVATE KEY"    // RFC 5958
	labelSEC1   = "EC PRIVATE KEY" // RFC 5915
	labelParams = "EC PARAMETERS"
	begin       = "-----BEGIN "

	// What to do about a file that holds something else.
	nameP256 = "ES256 signs with P-256 keys only: name such a key's file, or make one with " +
		"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"
	namePrivate = "name the file of the private key"
	decrypt     = "decrypt it with openssl pkey -in FILE -out NEW, and let only this program read the result"
	copyAgain   = "copy the whole file again, from -----BEGIN to -----END"
)

// parseKey reads the one P-256 private key in a PEM file. Its errors say the
// problem and the mend and hold nothing of the content.
//
// It forgives what editors and environment variables do to a file (CRLF, no
// final newline, \n written as two characters) and nothing else: text around
// the block may be another key, cut off or forgotten.
//
// It overwrites data, and leaves no copy of what is in it but the key.
func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	data = normalise(data)
	if len(data) == 0 {
		return nil, errors.New("the file is empty: copy the key into it again")
	}
	blocks, err := splitPEM(data)
	defer wipeBlocks(blocks)
	if err != nil {
		return nil, err
	}
	curveNamed := len(blocks) > 1 && blocks[0].Type == labelParams
	if curveNamed {
		if err := checkParams(blocks[0].Bytes); err != nil {
			return nil, err
		}
		blocks = blocks[1:]
	}
	if len(blocks) > 1 {
		return nil, fmt.Errorf("the file holds %d PEM blocks: keep one private key per file and nothing else", len(blocks))
	}
	block := blocks[0]
	switch {
	case block.Headers["Proc-Type"] != "" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("the file holds an encrypted key: " + decrypt)
	case len(block.Headers) > 0:
		return nil, errors.New("the PEM block has header lines: remove the lines between BEGIN and the first empty line")
	case block.Type == labelPKCS8:
		return parsePKCS8(block.Bytes)
	case block.Type == labelSEC1:
		return parseSEC1(block.Bytes, curveNamed)
	}
	return nil, otherBlock(block.Type)
}

func wipeBlocks(blocks []*pem.Block) {
	for _, block := range blocks {
		clear(block.Bytes)
	}
}

// otherBlock describes a block by its label (RFC 7468, and openssl's own). An
// unknown label is not repeated: any text in the file might be part of a key.
func otherBlock(label string) error {
	switch label {
	case "PUBLIC KEY", "EC PUBLIC KEY", "RSA PUBLIC KEY":
		return errors.New("the file holds a public key: " + namePrivate)
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		return errors.New("the file holds a certificate: " + namePrivate)
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return errors.New("the file holds a certificate request: " + namePrivate)
	case labelParams:
		return errors.New("the file holds curve parameters and no key: " + namePrivate)
	case "RSA PRIVATE KEY":
		return errors.New("the file holds an RSA key: " + nameP256)
	case "DSA PRIVATE KEY":
		return errors.New("the file holds a DSA key: " + nameP256)
	case "ENCRYPTED PRIVATE KEY":
		return errors.New("the file holds an encrypted key: " + decrypt)
	case "OPENSSH PRIVATE KEY":
		return errors.New("the file holds a key in OpenSSH's format: convert a copy with ssh-keygen -p -m PKCS8 -f FILE")
	}
	return errors.New("the file holds a PEM block that is no private key: " + namePrivate)
}

// normalise undoes what is forgiven. PEM has no backslash, so one can only be
// half of a \n or \r that was meant as a line's end. It works in place.
func normalise(data []byte) []byte {
	for _, end := range []string{`\r\n`, `\n`, `\r`, "\r\n", "\r"} {
		data = endLines(data, end)
	}
	return bytes.TrimSpace(data)
}

// endLines writes a newline in the place of each end, over data itself.
func endLines(data []byte, end string) []byte {
	kept := data[:0]
	for {
		before, after, found := bytes.Cut(data, []byte(end))
		kept = append(kept, before...)
		if !found {
			return kept
		}
		kept = append(kept, '\n')
		data = after
	}
}

// splitPEM returns the blocks of a file that consists of PEM blocks only, at
// least one. pem.Decode passes over everything it cannot read; here all of it
// is an error, beside the blocks read so far.
func splitPEM(data []byte) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for rest := data; len(rest) > 0; {
		if !bytes.HasPrefix(rest, []byte(begin)) {
			return blocks, outsideError(data, len(blocks))
		}
		block, after := pem.Decode(rest)
		used := rest[:len(rest)-len(after)]
		if block != nil {
			blocks = append(blocks, block)
		}
		if block == nil || bytes.Count(used, []byte(begin)) != 1 {
			return blocks, errors.New("the PEM block is damaged: " + copyAgain)
		}
		rest = bytes.TrimSpace(after)
	}
	return blocks, nil
}

// outsideError describes text that is in no PEM block, after so many of them.
func outsideError(data []byte, blocks int) error {
	switch {
	case blocks > 0:
		return errors.New("text follows the PEM block: remove everything after the -----END line")
	case bytes.Contains(data, []byte(begin)):
		return errors.New("text stands before the PEM block: remove everything ahead of the -----BEGIN line")
	case looksLikeDER(data):
		return errors.New("the file is DER, not PEM: convert it with openssl pkey -inform DER -in FILE -out NEW")
	}
	return errors.New("the file is not PEM: " + copyAgain)
}
