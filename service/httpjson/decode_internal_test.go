package httpjson

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// FuzzDecode holds what is read to what is written again, and errors to one short
// line.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{"request":{"profile":"A","claims":"{}","ttl":"60s"}}`, `{"request":null}`, `{"a":"B"}`, `[]`, ``, `{"request":{"ttl":"B"}}`,
		`{"request":{"profile":"A","profile":"B"}}`, "{\"request\":\n {\"min_remaining\": \"-1.5s\"}}", `{"request":{"ttl":9e99}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		read := &jotsmithv1.ExplainTokenRequest{}
		if err := decode(body, read); err != nil {
			if _, ok := errors.AsType[*malformed](err); !ok {
				t.Fatal(err)
			}
			if len(err.Error()) > 160+len(body) || strings.ContainsRune(err.Error(), '\u00a0') {
				t.Errorf("%q", err)
			}
			return
		}
		text, err := protojson.Marshal(read)
		if err != nil {
			t.Fatal(err)
		}
		again := &jotsmithv1.ExplainTokenRequest{}
		if err := decode(text, again); err != nil || !proto.Equal(read, again) {
			t.Errorf("%v: %s", err, text)
		}
	})
}
