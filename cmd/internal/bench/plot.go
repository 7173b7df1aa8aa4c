package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// bar is one bar of the plot; deploy/dev/plot draws it.
type bar struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Spread float64 `json:"spread"`
	Target float64 `json:"target"`
}

// plotted are the rows in the plot: CPU time for each token, under much load.
var plotted = regexp.MustCompile(`^(RFC 6979|MintToken, (Unix|mTLS), 64 callers|Batches of 64|bare (default|tuned|echo), (64 callers|batches of 64, 8 callers)$)`)

// plot draws the rows into NAME.svg and NAME.png beside the document, and returns the
// line that shows them there; empty where no row is to be drawn.
func (b *benchmark) plot(ctx context.Context, document string) (string, error) {
	var figure struct {
		Title string `json:"title"`
		Unit  string `json:"unit"`
		Bars  []bar  `json:"bars"`
	}
	figure.Title, figure.Unit = "CPU time for one token", "signatures by crypto/ecdsa (SignASN1), "+processor()
	for _, r := range b.rows {
		value, spread, ok := r.ratio(b.rows)
		if ok && r.against == "" && plotted.MatchString(r.name) && !strings.Contains(r.name, "each a connection") {
			figure.Bars = append(figure.Bars, bar{r.name, value, spread, r.bound.value})
		}
	}
	if len(figure.Bars) == 0 {
		return "", nil
	}
	text, err := json.Marshal(figure)
	if err != nil {
		return "", err
	}
	name, err := filepath.Abs(strings.TrimSuffix(document, filepath.Ext(document)))
	if err != nil {
		return "", err
	}
	draw := exec.CommandContext(ctx, "go", "run", ".", name)
	draw.Dir, draw.Stdin = filepath.Join(b.root, "deploy", "dev", "plot"), bytes.NewReader(text)
	if out, err := draw.CombinedOutput(); err != nil {
		return "", fmt.Errorf("plot: %w\n%s", err, out)
	}
	base := filepath.Base(name)
	return fmt.Sprintf("![CPU time for one token, in signatures](%s.svg)\n\n([the same as PNG](%s.png))\n", base, base), nil
}
