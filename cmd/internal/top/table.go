package top

import (
	"fmt"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
)

// column is one of a table. What does not fit is cut from the widest columns.
type column struct {
	title string
	right bool // numbers
}

// table is a section of the screen: a title line, and rows of which as many are
// shown as there is room for.
type table struct {
	columns []column
	rows    [][]string
	bad     map[int]bool // rows that somebody should look at
}

// gap is between two columns.
const gap = "  "

// narrowest is how far a column is cut.
const narrowest = 6

// lines returns the title and the first rows, so many that there are most lines,
// none wider than width. 0 is no limit.
func (t *table) lines(width, most int) []terminal.Line {
	rows := t.rows
	hidden := 0
	if most > 0 && len(rows) > most-1 {
		rows = rows[:max(most-1, 0)]
		hidden = len(t.rows) - len(rows)
	}
	widths := t.widths(rows, width)
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	title := t.join(titles, widths)
	if hidden > 0 {
		more := fmt.Sprintf(" +%d more", hidden)
		if width > 0 && len(title)+len(more) > width {
			title = title[:max(width-len(more), 0)]
		}
		title += more
	}
	out := []terminal.Line{{Text: cut(title, width), Style: terminal.Title}}
	for i, row := range rows {
		style := terminal.Normal
		if t.bad[i] {
			style = terminal.Bad
		}
		out = append(out, terminal.Line{Text: cut(t.join(row, widths), width), Style: style})
	}
	return out
}

// widths returns how wide each column is, all together no wider than width.
func (t *table) widths(rows [][]string, width int) []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = len(c.title)
		for _, row := range rows {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	if width <= 0 {
		return widths
	}
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > width {
		widest := -1
		for i, w := range widths {
			if !t.columns[i].right && w > narrowest && (widest < 0 || w >= widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

func (t *table) join(cells []string, widths []int) string {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteString(gap)
		}
		cell = cut(cell, widths[i])
		padding := strings.Repeat(" ", widths[i]-len(cell))
		switch {
		case t.columns[i].right:
			b.WriteString(padding + cell)
		case i+1 < len(cells):
			b.WriteString(cell + padding)
		default:
			b.WriteString(cell)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// cut is text of so many cells at most; 0 is no limit.
func cut(text string, most int) string {
	if most <= 0 || len(text) <= most {
		return text
	}
	if most <= 2 {
		return text[:most]
	}
	return text[:most-2] + ".."
}
