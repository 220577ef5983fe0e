//go:build unix

package main

import (
	"time"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/tui/logview"
)

// page is how many lines the lower pane of a large screen shows.
const page = 36

// searches looks through the whole store, ten times each, and keeps the middle.
func searches(l *load) []result {
	var out []result
	for _, s := range []struct {
		name, expr string
		aim        float64
	}{
		{"literal", "connection refused", 50},
		{"regular expression", `job \d*7\d in [5-9]\d ms`, 150},
		{"regular expression without a fixed part", `[a-z]+-[0-9]{2,}\]`, 150},
	} {
		p, err := filter.Compile(s.expr)
		if err != nil {
			panic(err) // they are written above
		}
		var first, all []time.Duration
		for range 10 {
			f, a := search(l, p)
			first, all = append(first, f), append(all, a)
		}
		out = append(out,
			result{"search, " + s.name + ": the first page", percentile(first, 50), "ms", 16},
			result{"search, " + s.name + ": all lines", percentile(all, 50), "ms", s.aim})
	}
	return out
}

// search asks an index for the lines that match, as the worker of the log pane does.
func search(l *load, p *filter.Pattern) (first, all time.Duration) {
	x := logview.NewIndex(l.store, logview.NewLevels(l.store))
	start := time.Now()
	x.Set(logview.Query{Pattern: p}, 0)
	for more := true; more; {
		_, more = x.Step()
		if first == 0 && x.List().Len() >= page {
			first = time.Since(start)
		}
	}
	all = time.Since(start)
	if first == 0 {
		first = all
	}
	return first, all
}
