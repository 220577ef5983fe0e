package filter

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// A Pattern is a regular expression with the text that every match holds.
type Pattern struct {
	re      *regexp.Regexp
	literal []byte // "" when there is none
	whole   bool   // the expression is that text and nothing else
	auto    *automaton
}

// Compile reads a regular expression in Go's syntax.
func Compile(expr string) (*Pattern, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, err
	}
	p := &Pattern{re: re}
	if tree, err := syntax.Parse(expr, syntax.Perl); err == nil {
		tree = tree.Simplify()
		text, whole := needed(tree)
		p.literal, p.whole = []byte(text), whole
		if !whole {
			p.auto = newAutomaton(tree)
		}
	}
	return p, nil
}

// CompileAll compiles several; what names them in an error.
func CompileAll(what string, exprs []string) ([]*Pattern, error) {
	var out []*Pattern
	for _, e := range exprs {
		p, err := Compile(e)
		if err != nil {
			return nil, fmt.Errorf("failed to compile regular expression for %s: %w", what, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// String is the expression.
func (p *Pattern) String() string { return p.re.String() }

// Match says whether the line holds a match.
func (p *Pattern) Match(line []byte) bool {
	if len(p.literal) > 0 {
		if !bytes.Contains(line, p.literal) {
			return false
		}
		if p.whole {
			return true
		}
	}
	if p.auto != nil {
		if match, known := p.auto.match(line); known {
			return match
		}
	}
	return p.re.Match(line)
}

// FindAll returns where the matches in a line begin and end, without those of no
// text at all.
func (p *Pattern) FindAll(line []byte) [][]int {
	if len(p.literal) > 0 && !bytes.Contains(line, p.literal) {
		return nil
	}
	hits := p.re.FindAllIndex(line, -1)
	return slices.DeleteFunc(hits, func(h []int) bool { return h[0] == h[1] })
}

// needed finds the longest text that every match of the expression holds, and
// whether the expression is just that text.
func needed(re *syntax.Regexp) (text string, whole bool) {
	switch re.Op {
	case syntax.OpLiteral:
		// The engine takes bytes that are no UTF-8 for U+FFFD; a search for text does not.
		if re.Flags&syntax.FoldCase != 0 || slices.Contains(re.Rune, utf8.RuneError) {
			return "", false
		}
		return string(re.Rune), true
	case syntax.OpEmptyMatch:
		return "", true
	case syntax.OpCapture:
		return needed(re.Sub[0])
	case syntax.OpPlus:
		text, _ = needed(re.Sub[0])
		return text, false
	case syntax.OpRepeat:
		if re.Min > 0 {
			text, _ = needed(re.Sub[0])
		}
		return text, false
	case syntax.OpConcat:
		// Neighbours that are text join: "a(b)c" needs "abc".
		best, run := "", ""
		whole = true
		for _, sub := range re.Sub {
			t, w := needed(sub)
			if w {
				run += t
			} else {
				whole = false
				run = ""
			}
			for _, candidate := range []string{run, t} {
				if len(candidate) > len(best) {
					best = candidate
				}
			}
		}
		return best, whole
	}
	return "", false
}
