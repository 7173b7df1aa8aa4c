package config

import (
	"strings"
	"testing"
)

func TestMetricsAreForThisMachineUnlessTheyArePublic(t *testing.T) {
	for section, fine := range map[string]bool{
		`{address: "127.0.0.1:9464"}`:                             true,
		`{address: "127.0.0.2:0"}`:                                true,
		`{address: "[::1]:9464"}`:                                 true,
		`{address: "[::ffff:127.0.0.1]:9464"}`:                    true,
		`{address: "localhost:9464"}`:                             true,
		`{address: ":9464"}`:                                      false,
		`{address: "0.0.0.0:9464"}`:                               false,
		`{address: "[::]:9464"}`:                                  false,
		`{address: "10.0.0.1:9464"}`:                              false,
		`{address: "localhost.example.org:9464"}`:                 false,
		`{address: ":9464", public: true}`:                        true,
		`{address: "metrics.example.org:9464", public: true}`:     true,
		`{unix: {path: /run/jotsmith/metrics.sock}}`:              true,
		`{unix: {path: /run/jotsmith/metrics.sock, mode: "600"}}`: true,
	} {
		cfg, err := Parse("jotsmith.yaml", []byte(`
listeners: [{unix: {path: /run/jotsmith/jotsmith.sock}}]
backends: {files: {uri: "file:/keys"}}
keys: {k: {backend: files, id: k.pem, kid: k}}
profiles: {svc: {key: k, preset: jwt, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
metrics: `+section), checkURI)
		if (err == nil) != fine {
			t.Errorf("%s: %v", section, err)
		}
		if err != nil && !strings.Contains(err.Error(), "set public: true") {
			t.Errorf("%s: the mend is missing: %v", section, err)
		}
		if err == nil && cfg.GetMetrics().GetUnix() != nil && cfg.GetMetrics().GetUnix().GetMode() == "" {
			t.Errorf("%s: no mode", section)
		}
	}
}
