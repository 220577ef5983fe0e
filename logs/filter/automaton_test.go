package filter

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func automatonOf(t testing.TB, expr string) *Pattern {
	t.Helper()
	p, err := Compile(expr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What random short texts of few letters hold is what the engine says, also from many
// goroutines that make the same states.
func TestAutomatonIsTheEngine(t *testing.T) {
	letters := []string{"a", "b", "-", "7", "é", "\xff", "\n", "日", "A"}
	r := rand.New(rand.NewPCG(1, 2))
	var lines [][]byte
	for range 2000 {
		var b strings.Builder
		for range r.IntN(9) {
			b.WriteString(letters[r.IntN(len(letters))])
		}
		lines = append(lines, []byte(b.String()))
	}
	for _, expr := range []string{
		`[a-z]+-[0-9]{2,}\]`, `^a`, `b$`, `^$`, `$^`, `^(a|b)+$`, `a.b`, `(?s)a.b`, `(?i)A-b`, `[^a]b`, `\pL7`, `é+`, `(a*)*b`, `x?`, `[\x{fffd}]`, `(^a|b$)`, `a|^`, `7-?$`,
		`(?:a|ab)(?:-|b)*7`, `\D\d\D`, `日|本`, `\Aa\z`, `(?:^|-)7(?:-|$)`,
	} {
		re, p := regexp.MustCompile(expr), automatonOf(t, expr)
		if p.auto == nil && !p.whole {
			t.Errorf("%s has no automaton", expr)
		}
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for _, line := range lines {
					if want, got := re.Match(line), p.Match(line); got != want {
						t.Errorf("%q on %q: %v, the engine says %v", expr, line, got, want)
						return
					}
				}
			})
		}
		work.Wait()
	}
}

// An automaton does not grow without bound, and what it cannot say the engine does.
func TestLargeAutomaton(t *testing.T) {
	const expr = `(a|b)*a(a|b){16}c`
	re, p := regexp.MustCompile(expr), automatonOf(t, expr)
	r := rand.New(rand.NewPCG(3, 4))
	line := make([]byte, 20000)
	for i := range line {
		line[i] = "ab"[r.IntN(2)]
	}
	copy(line[len(line)-18:], "a0123456789012345c") // no match, and nothing that says so early
	for _, end := range []string{"", "abbbbbbbbbbbbbbbbc"} {
		text := append(line[:len(line):len(line)], end...)
		if want, got := re.Match(text), p.Match(text); got != want {
			t.Errorf("%q at the end: %v, the engine says %v", end, got, want)
		}
	}
	if !p.auto.large.Load() || p.auto.size > maxAutomaton+10000 {
		t.Errorf("large: %v, size %d", p.auto.large.Load(), p.auto.size)
	}
	var wide strings.Builder
	for i := range 5000 {
		wide.WriteRune(rune(0x4e00 + i))
	}
	if q := automatonOf(t, `[\x{4e00}-\x{6fff}][78]`); q.Match([]byte(wide.String())) {
		t.Error("a match of nothing")
	} else if n := len(*q.auto.states[keyOf(q.auto)].wide.Load()); n > maxWide {
		t.Errorf("%d runes in a state", n)
	}
}

// keyOf is the key of the state that has seen the most runes.
func keyOf(a *automaton) string {
	best, most := "", -1
	for key, s := range a.states {
		n := 0
		if w := s.wide.Load(); w != nil {
			n = len(*w)
		}
		if n > most {
			best, most = key, n
		}
	}
	return best
}

// BenchmarkMatch compares the automaton with the engine on lines without a match.
func BenchmarkMatch(b *testing.B) {
	var lines [][]byte
	size := 0
	for i := range 1000 {
		lines = append(lines, fmt.Appendf(nil, `2026-11-28T06:00:00Z level=info worker-%d job %d in %d ms, connection to redis:6379 [ok] queue-%d`, i%10, i, i%97, i))
		size += len(lines[i])
	}
	for _, expr := range []string{`[a-z]+-[0-9]{2,}\]`, `(?i)timeout|refused|denied`, `status=[45]\d\d`} {
		p := automatonOf(b, expr)
		for _, way := range []struct {
			name  string
			match func([]byte) bool
		}{{"automaton", p.Match}, {"engine", p.re.Match}} {
			b.Run(way.name+"/"+expr, func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					for _, line := range lines {
						way.match(line)
					}
				}
			})
		}
	}
}
