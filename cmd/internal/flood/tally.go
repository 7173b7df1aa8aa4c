package flood

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"
)

// Tally is what came of the calls.
type Tally struct {
	Took    time.Duration
	Unasked int // calls of the pace that found no free stream
	Answers map[codes.Code]Answers
}

// Answers are the calls that ended with one code.
type Answers struct {
	Count    int
	P50, P99 time.Duration // from the sending of the request to the end of the answer
}

// Of returns how many calls a second ended with a code.
func (t Tally) Of(code codes.Code) float64 {
	return float64(t.Answers[code].Count) / t.Took.Seconds()
}

// sum is the tally of all connections.
func sum(took time.Duration, conns []*conn) Tally {
	all := Tally{Took: took, Answers: map[codes.Code]Answers{}}
	times := map[codes.Code][]time.Duration{}
	for _, c := range conns {
		all.Unasked += c.unasked
		for code, took := range c.took {
			times[code] = append(times[code], took...)
		}
	}
	for code, took := range times {
		slices.Sort(took)
		all.Answers[code] = Answers{Count: len(took), P50: took[len(took)/2], P99: took[len(took)*99/100]}
	}
	return all
}
