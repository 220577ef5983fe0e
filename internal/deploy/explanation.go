package deploy

import (
	"fmt"
	"strings"
	"time"
)

// Explanation is the status in words, in at most twelve lines: how far the
// rollout is, what is wrong, what led to it, what to do.
func (s WorkloadStatus) Explanation(now time.Time) string {
	var b strings.Builder
	b.WriteString(s.FullName())
	if s.Unwatched != "" {
		fmt.Fprintf(&b, ": not watched: %s\n", s.Unwatched)
		return b.String()
	}
	if s.Template != "" {
		fmt.Fprintf(&b, " %s", s.Template)
	}
	fmt.Fprintf(&b, ": %d/%d ready", s.ReadyReplicas, s.Desired)
	switch {
	case s.Ready:
	case s.Problem != nil:
		b.WriteString(", failing")
	default:
		b.WriteString(", progressing")
	}
	if !s.Ready && !s.Since.IsZero() {
		fmt.Fprintf(&b, " for %s", age(now.Sub(s.Since)))
	}
	if s.Old > 0 {
		fmt.Fprintf(&b, " (still serving: %s)", plural(s.Old, "old pod"))
	}
	b.WriteByte('\n')
	p := s.Problem
	if p == nil {
		if s.Waiting != "" {
			fmt.Fprintf(&b, "  waits for %s\n", s.Waiting)
		}
		return b.String()
	}
	fmt.Fprintf(&b, "  %s [%s]\n", p.Error(), p.Code)
	if p.Output != "" {
		for line := range strings.Lines(p.Output) {
			fmt.Fprintf(&b, "  │ %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "  → %s\n", p.Hint)
	}
	return b.String()
}
