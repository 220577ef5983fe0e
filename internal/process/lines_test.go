package process

import (
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"halves", []string{"a", "b\nc\r\n", "\n", "end"}, []string{"ab", "c", "", "end"}},
		{"one without an end", []string{strings.Repeat("x", longestLine), "yz"}, []string{strings.Repeat("x", longestLine) + "yz"}},
		{"a cut one goes on", []string{strings.Repeat("x", longestLine+1), "y\n"}, []string{strings.Repeat("x", longestLine+1), "y"}},
	} {
		var got []string
		l := &Lines{Tell: func(s string) { got = append(got, s) }}
		for _, w := range tt.writes {
			if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: wrote %d, %v", tt.name, n, err)
			}
		}
		l.Flush()
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %.100q, want %.100q", tt.name, got, tt.want)
		}
	}
}

// Progress that is drawn over itself takes no more memory than a line, and its last
// state is what is shown.
func TestProgressWithoutLines(t *testing.T) {
	var got []string
	l := &Lines{Tell: func(s string) { got = append(got, s) }}
	for i := range 100_000 {
		_, _ = fmt.Fprintf(l, "\r%6d of 100000 files", i)
		if len(l.rest) > longestLine {
			t.Fatalf("%d bytes are kept", len(l.rest))
		}
	}
	_, _ = fmt.Fprintln(l)
	if len(got) != 1 || !strings.HasSuffix(got[0], " 99999 of 100000 files") {
		t.Errorf("%d lines; the last ends with %q", len(got), got[len(got)-1][max(0, len(got[len(got)-1])-40):])
	}
}
