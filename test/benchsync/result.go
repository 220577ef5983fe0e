package main

import (
	"fmt"
	"slices"
	"time"
)

// A result is a row of the table: one figure beside its aim.
type result struct {
	Name   string    `json:"name"`
	Figure float64   `json:"figure"`
	Unit   string    `json:"unit"`
	Aim    float64   `json:"aim,omitempty"` // at most this; none: shown for comparison
	Exact  bool      `json:"exact,omitempty"`
	Holds  bool      `json:"holds"`
	All    []float64 `json:"all,omitempty"`
}

func (r result) String() string {
	aim, verdict := "", ""
	switch {
	case r.Exact:
		aim = fmt.Sprintf("= %.4g", r.Aim)
	case r.Aim > 0:
		aim = fmt.Sprintf("≤ %.4g", r.Aim)
	}
	if aim != "" && !r.Holds {
		verdict = "misses"
	}
	figure := fmt.Sprintf("%9.2f", r.Figure)
	if r.Exact {
		figure = fmt.Sprintf("%9.4g", r.Figure) // 1.002 misses = 1
	}
	return fmt.Sprintf("  %-58s %s %-6s %-9s %s", r.Name, figure, r.Unit, aim, verdict)
}

// atMost is a figure that holds when it is no more than its aim.
func atMost(name string, figure float64, unit string, aim float64) result {
	return result{Name: name, Figure: figure, Unit: unit, Aim: aim, Holds: figure <= aim}
}

// exactly is a figure that holds when it is its aim.
func exactly(name string, figure float64, unit string, aim float64) result {
	return result{Name: name, Figure: figure, Unit: unit, Aim: aim, Exact: true, Holds: figure == aim}
}

// shown is a figure without an aim.
func shown(name string, figure float64, unit string) result {
	return result{Name: name, Figure: figure, Unit: unit, Holds: true}
}

// with keeps the single values behind a figure.
func (r result) with(all []float64) result {
	r.All = all
	return r
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile is the value that a share q of v does not exceed.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func median(v []float64) float64 { return quantile(v, 0.5) }
