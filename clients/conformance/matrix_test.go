package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the matrix into docs/clients.md")

const page = "../../docs/clients.md"

// matrix is what came of it all: scenarios down, languages across.
type matrix struct {
	scenarios []scenario

	mu    sync.Mutex
	jose  map[string]string          // by language
	cells map[string]map[string]bool // by language and scenario
}

func newMatrix(scenarios []scenario) *matrix {
	return &matrix{scenarios: scenarios, jose: map[string]string{}, cells: map[string]map[string]bool{}}
}

func (m *matrix) met(l language, hello answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jose[l.name] = names(hello["jose"])
	m.cells[l.name] = map[string]bool{}
}

func (m *matrix) passed(l language, s *scenario) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells[l.name][s.Name] = true
}

// names are a list's, without their versions, which change more often than a page.
func names(list any) string {
	texts, _ := list.([]any)
	var all []string
	for _, text := range texts {
		name, _, _ := strings.Cut(fmt.Sprint(text), " ")
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// markdown is the table, and how many of its cells are empty.
func (m *matrix) markdown() (string, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	row := func(first string, cell func(language) string) {
		fmt.Fprintf(&b, "| %s |", first)
		for _, l := range languages {
			fmt.Fprintf(&b, " %s |", cell(l))
		}
		b.WriteByte('\n')
	}
	row("", func(l language) string { return l.name })
	row("---", func(language) string { return "---" })
	empty := 0
	for _, s := range m.scenarios {
		row("**"+s.Name+"**: "+s.Says, func(l language) string {
			if m.cells[l.name][s.Name] {
				return "✓"
			}
			empty++
			return ""
		})
	}
	row("verified by", func(l language) string { return m.jose[l.name] })
	return b.String(), empty
}

const begin, end = "<!-- the matrix -->\n", "<!-- its end -->\n"

// compare holds the page's matrix to what was played, or writes it.
func (m *matrix) compare(t *testing.T) {
	table, empty := m.markdown()
	t.Logf("\n%s", table)
	if empty > 0 {
		t.Errorf("%d cells are empty", empty)
		return
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the matrix", page)
	}
	if old == table {
		return
	}
	if !*update {
		t.Errorf("the matrix in %s is another: go test ./clients/conformance -update", page)
		return
	}
	if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil { //nolint:gosec // a page that everybody reads
		t.Fatal(err)
	}
}
