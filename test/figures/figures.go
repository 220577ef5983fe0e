package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// A Figure is one row of the table. Aim is the most that is good enough, or with Least
// the least; 0 has none, and is there to compare with.
type Figure struct {
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Unit  string    `json:"unit"`
	Aim   float64   `json:"aim,omitempty"`
	Least bool      `json:"least,omitempty"`
	None  bool      `json:"none,omitempty"` // the aim is zero
	All   []float64 `json:"all,omitempty"`  // the single values behind it
}

// Holds says whether the aim is reached.
func (f Figure) Holds() bool {
	switch {
	case f.None:
		return f.Value == 0
	case f.Least:
		return f.Value >= f.Aim
	}
	return f.Aim == 0 || f.Value <= f.Aim
}

// A Table is the figures of a run. It belongs to one goroutine.
type Table struct {
	Out     io.Writer
	figures []Figure
}

// Add prints a figure as soon as it is known: the whole takes minutes.
func (t *Table) Add(f Figure) {
	t.figures = append(t.figures, f)
	aim := ""
	if f.Aim != 0 || f.None {
		sign, verdict := "at most", "holds"
		if f.Least {
			sign = "at least"
		}
		if !f.Holds() {
			verdict = "FALLS SHORT"
		}
		aim = fmt.Sprintf("%s %.4g: %s", sign, f.Aim, verdict)
	}
	fmt.Fprintf(t.Out, "%-64s %12.5g %-8s %s\n", f.Name, f.Value, f.Unit, aim)
}

// WriteJSON writes all figures as one array.
func (t *Table) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(t.figures) }

// Median is the middle of several durations, in milliseconds, with all of them.
func Median(took []time.Duration) (ms float64, all []float64) {
	for _, d := range took {
		all = append(all, float64(d.Microseconds())/1000)
	}
	return slices.Sorted(slices.Values(all))[len(all)/2], all
}
