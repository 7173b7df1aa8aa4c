// Package conformance holds every client library to the same behaviour, which
// docs/clients.md says. scenarios.yaml has the scenarios; each is played with each
// library, against the program itself, through the library's driver (driver.md).
//
//	go test ./clients/conformance -run 'Conformance/each/^Go$'
//	go test ./clients/conformance -run 'Conformance/each/^Go$/scenarios/^reused'
//	go test ./clients/conformance -update       write the matrix into docs/clients.md
package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/clients/conformance/stage"
)

// language is one column of the matrix.
type language struct {
	name    string
	dir     string   // in clients/
	variant []string // arguments of its driver
}

var languages = []language{
	{"Go", "go", nil},
	{"Java", "java", nil},
	{"Python", "python", nil},
	{"Python, asyncio", "python", []string{"aio"}},
	{"Ruby", "ruby", nil},
	{"Rust", "rust", nil},
	{"TypeScript", "typescript", nil},
}

// TestMain lets more scenarios run at once than there are processors: they wait most
// of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run()) //nolint:forbidigo // main ends the program
}

func TestEveryLibraryIsPlayed(t *testing.T) {
	found, err := filepath.Glob("../*/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range found {
		dir := filepath.Base(filepath.Dir(run))
		if !slices.ContainsFunc(languages, func(l language) bool { return l.dir == dir }) {
			t.Errorf("clients/%s is in no column", dir)
		}
	}
}

func TestConformance(t *testing.T) {
	scenarios, err := readScenarios("scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	program, err := stage.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := newMatrix(scenarios)
	all := t.Run("each", func(t *testing.T) { playAll(t, m, program) })
	if only := flag.Lookup("test.run").Value.String(); !strings.Contains(only, "/") && all {
		m.compare(t)
	}
}

// playAll plays everything with every library.
func playAll(t *testing.T, m *matrix, program string) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			if out, err := exec.CommandContext(t.Context(), filepath.Join("..", l.dir, "run"), "build").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			environment, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short and plain
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(environment) })
			d := startDriver(t, l, "JOTSMITH_ADDRESS=unix://"+environment+"/s")
			hello, err := d.do("hello", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v, %v, verified by %v", hello["language"], hello["library"], hello["jose"])
			m.met(l, hello)
			t.Run("example", func(t *testing.T) { t.Parallel(); playExample(t, l, program) })
			t.Run("scenarios", func(t *testing.T) {
				for _, s := range m.scenarios {
					t.Run(s.Name, func(t *testing.T) {
						t.Parallel()
						s.play(t, d, hello, program, environment)
						m.passed(l, &s)
					})
				}
			})
		})
	}
}

// playExample runs the library's example: it lists the apps of the stand-in.
func playExample(t *testing.T, l language, program string) {
	server := stage.New(t, program)
	server.Start()
	c := newConsumer(t, server)
	example := exec.CommandContext(t.Context(), filepath.Join("..", l.dir, "run"), "example", "--profile", "asc", "--api", c.web.URL)
	example.Env = append(os.Environ(), "JOTSMITH_ADDRESS="+server.Unix())
	example.Stderr = os.Stderr
	out, err := example.Output()
	if want := "1234567890\tcom.example.forecast\tForecast\n1234567891\tcom.example.timetable\tTimetable\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}

// play plays a scenario, once with each plug where it is about those.
func (s *scenario) play(t *testing.T, d *driver, hello answer, program, environment string) {
	plugs := []any{""}
	if s.Plugs != "" {
		plugs, _ = hello[s.Plugs].([]any)
		if len(plugs) == 0 {
			t.Fatalf("nothing plugs in for %s", s.Plugs)
		}
	}
	for _, plug := range plugs {
		p := newPlay(t, d, program, fmt.Sprint(plug))
		p.environment = filepath.Join(environment, "s")
		for i := range s.Steps {
			if err := p.act(&s.Steps[i]); err != nil {
				name, _ := s.Steps[i].operation()
				t.Fatalf("%v step %d, %s: %v", plug, i+1, name, err)
			}
		}
	}
}
