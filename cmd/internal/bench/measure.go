package main

import "fmt"

// measure is one figure that is taken once a run, beside what it is held to.
type measure struct {
	name     string
	measured string
	against  string // what it is compared to
	ratio    float64
	target   string // empty is none
	met      bool
}

// compared is a measure whose ratio has a target.
func compared(name, measured, against string, ratio float64, bound bound) measure {
	return measure{name: name, measured: measured, against: against, ratio: ratio, target: bound.String(), met: bound.met(ratio)}
}

// below is a measure that has to stay below a limit of its own.
func below(name, measured, target string, met bool) measure {
	return measure{name: name, measured: measured, target: target, met: met}
}

// measureTable is a table of measures.
func measureTable(title string, measures []measure) table {
	t := table{title: title, header: []string{"what", "measured", "compared to", "ratio", "target", "met"}}
	for _, m := range measures {
		ratio, met := "", ""
		if m.against != "" && m.ratio != 0 {
			ratio = fmt.Sprintf("%.2f", m.ratio)
		}
		if m.target != "" {
			met = yesNo(m.met)
		}
		t.rows = append(t.rows, []string{m.name, m.measured, m.against, ratio, m.target, met})
	}
	return t
}
