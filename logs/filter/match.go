package filter

import (
	"bytes"
	"regexp"
	"sort"
	"strings"
)

// Lines is the filter of single lines: those that a pattern of Exclude matches go,
// then those that no pattern of Include matches, if there is one.
type Lines struct {
	Exclude []*Pattern
	Include []*Pattern
}

// All says that every line is shown.
func (f *Lines) All() bool { return len(f.Exclude) == 0 && len(f.Include) == 0 }

// Match says whether the line is shown.
func (f *Lines) Match(line []byte) bool { return !f.excludes(line) && f.includes(line) }

func (f *Lines) excludes(line []byte) bool {
	for _, p := range f.Exclude {
		if p.Match(line) {
			return true
		}
	}
	return false
}

func (f *Lines) includes(line []byte) bool {
	if len(f.Include) == 0 {
		return true
	}
	for _, p := range f.Include {
		if p.Match(line) {
			return true
		}
	}
	return false
}

// marks are the colour of a match: red and bold, as stern's.
const markOn, markOff = "\x1b[31;1m", "\x1b[0;22m"

// Highlighter returns a function that appends a line with the matches of the
// patterns marked; nil without patterns. Of several that match at one place the
// longest expression wins, as in stern.
func Highlighter(patterns []*Pattern) func(dst, line []byte) []byte {
	if len(patterns) == 0 {
		return nil
	}
	var literals [][]byte
	exprs := make([]string, len(patterns))
	for i, p := range patterns {
		exprs[i] = p.String()
		if p.whole && len(p.literal) > 0 {
			literals = append(literals, p.literal)
		}
	}
	if len(patterns) == 1 && len(literals) == 1 {
		return highlightLiteral(literals[0])
	}
	sort.SliceStable(exprs, func(i, j int) bool { return len(exprs[i]) > len(exprs[j]) })
	re := regexp.MustCompile("(" + strings.Join(exprs, "|") + ")")
	return func(dst, line []byte) []byte {
		at := 0
		for _, m := range re.FindAllIndex(line, -1) {
			if m[0] == m[1] {
				continue // stern marks the nothing between characters; nobody sees it
			}
			dst = append(dst, line[at:m[0]]...)
			dst = mark(dst, line[m[0]:m[1]])
			at = m[1]
		}
		return append(dst, line[at:]...)
	}
}

func highlightLiteral(text []byte) func(dst, line []byte) []byte {
	return func(dst, line []byte) []byte {
		for {
			i := bytes.Index(line, text)
			if i < 0 {
				return append(dst, line...)
			}
			dst = append(dst, line[:i]...)
			dst = mark(dst, text)
			line = line[i+len(text):]
		}
	}
}

func mark(dst, text []byte) []byte {
	dst = append(dst, markOn...)
	dst = append(dst, text...)
	return append(dst, markOff...)
}
