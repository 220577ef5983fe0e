package filter

import (
	"regexp"
	"testing"
)

// FuzzPattern: the search for the text that an expression needs changes nothing about what
// the expression matches.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"ERROR", "an ERROR here"}, {"a(b)c", "abc"}, {"(?i)error", "ERROR"}, {"status=5..", "status=503 ok"}, {"x+y{2,3}z?", "xxyyz"}, {"^$", ""}, {"a|b", "b"},
		{"\uFFFD", "\xff"}, {"(foo|bar)baz", "barbaz"}, {`\bword\b`, "a word"}, {"[[:digit:]]{3}", "404"}, {"(?s:.)x", "\nx"}} {
		f.Add(s[0], []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, expr string, line []byte) {
		re, err := regexp.Compile(expr)
		p, perr := Compile(expr)
		if (err == nil) != (perr == nil) {
			t.Fatalf("%q: %v, but %v", expr, err, perr)
		}
		if err != nil {
			return
		}
		if want, got := re.Match(line), p.Match(line); got != want {
			t.Fatalf("%q on %q: %v, the engine says %v", expr, line, got, want)
		}
	})
}
