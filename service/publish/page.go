package publish

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// page is a document as it goes over HTTP, in each of its encodings.
type page struct {
	mediaType    string
	cacheControl string
	plain        representation
	gzipped      representation // without a body where it would be no shorter
}

// representation is a body with its strong entity tag (RFC 9110 section 8.8.3).
// Two encodings are two representations, with a tag each.
type representation struct {
	body []byte
	etag string
}

func newPage(d Document) (*page, error) {
	if d.Body == nil {
		return &page{}, nil
	}
	p := &page{mediaType: d.MediaType, cacheControl: CacheControl(d.MaxAge), plain: represent(d.Body)}
	var short bytes.Buffer
	// Without a name and a time in it, the same input gives the same output.
	w, err := gzip.NewWriterLevel(&short, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(d.Body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if short.Len() < len(d.Body) {
		p.gzipped = represent(short.Bytes())
	}
	return p, nil
}

func represent(body []byte) representation {
	digest := sha256.Sum256(body)
	return representation{body, `"` + base64.RawURLEncoding.EncodeToString(digest[:18]) + `"`}
}

// CacheControl lets every cache keep a document for so long, and no longer even
// where it cannot reach this server: what a rotation waits for, and how soon a
// key that was taken away is gone, are that time and not more.
func CacheControl(age time.Duration) string {
	return "public, max-age=" + strconv.FormatInt(int64(age/time.Second), 10) + ", must-revalidate"
}

// choose returns the representation that a request's Accept-Encoding asks for,
// and its Content-Encoding.
func (p *page) choose(accepted []string) (r representation, encoding string) {
	if p.gzipped.body != nil && takesGzip(strings.Join(accepted, ",")) {
		return p.gzipped, "gzip"
	}
	return p.plain, ""
}

// takesGzip says whether an Accept-Encoding (RFC 9110 section 12.5.3) takes gzip
// and likes nothing better. What cannot be read is not taken.
func takesGzip(accepted string) bool {
	const unset = -1
	gzip, identity, other := unset, unset, unset
	for item := range strings.SplitSeq(accepted, ",") {
		coding, parameter, weighted := strings.Cut(item, ";")
		weight := 1000
		if weighted {
			var ok bool
			if weight, ok = qvalue(parameter); !ok {
				weight = 0
			}
		}
		switch strings.ToLower(strings.Trim(coding, " \t")) {
		case "gzip", "x-gzip":
			gzip = max(gzip, weight)
		case "identity":
			identity = max(identity, weight)
		case "*":
			other = max(other, weight)
		}
	}
	if gzip == unset {
		gzip = other
	}
	return gzip > 0 && gzip >= identity
}

// qvalue reads a weight (RFC 9110 section 12.4.2), in thousandths.
func qvalue(parameter string) (thousandths int, ok bool) {
	name, value, _ := strings.Cut(strings.Trim(parameter, " \t"), "=")
	whole, fraction, _ := strings.Cut(value, ".")
	if !strings.EqualFold(name, "q") || len(fraction) > 3 || whole != "0" && whole != "1" {
		return 0, false
	}
	thousandths, err := strconv.Atoi(whole + (fraction + "000")[:3])
	if err != nil || thousandths < 0 || thousandths > 1000 {
		return 0, false
	}
	return thousandths, true
}
