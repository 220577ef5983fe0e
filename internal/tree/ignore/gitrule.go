package ignore

import (
	"strings"
)

// A rule is one line of a file in gitignore's format. Its fields follow git's
// struct path_pattern.
type rule struct {
	text     string // the line, for people
	pattern  string // without "!", the leading slash and the trailing one
	literal  int    // length of the part of pattern before the first wildcard
	negated  bool
	dirOnly  bool
	basename bool // no slash inside: matched with the base name at any depth
	suffix   bool // basename, and "*" followed by literal text only
	line     int
}

// A ruleset is one file's rules, which hold below base.
type ruleset struct {
	file  string // absolute
	base  string // directory of the file relative to the top, "" for the top; info/exclude and global excludes have ""
	rules []rule
}

// parseRules reads gitignore's format as git's dir.c does.
func parseRules(data, file, base string) *ruleset {
	set := &ruleset{file: file, base: base}
	data = strings.TrimPrefix(data, "\ufeff")
	for n := 1; data != ""; n++ {
		var line string
		line, data, _ = strings.Cut(data, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		line = trimTrailingSpaces(strings.TrimSuffix(line, "\r"))
		set.rules = append(set.rules, parseRule(line, n))
	}
	return set
}

func parseRule(line string, n int) rule {
	r := rule{text: line, line: n, pattern: line}
	r.pattern, r.negated = cutPrefix(r.pattern, '!')
	if strings.HasSuffix(r.pattern, "/") {
		r.pattern, r.dirOnly = r.pattern[:len(r.pattern)-1], true
	}
	r.basename = !strings.Contains(r.pattern, "/")
	if !r.basename {
		r.pattern, _ = cutPrefix(r.pattern, '/')
	}
	r.literal = len(r.pattern)
	if i := strings.IndexAny(r.pattern, `*?[\`); i >= 0 {
		r.literal = i
	}
	r.suffix = r.basename && r.pattern != "" && r.pattern[0] == '*' && !strings.ContainsAny(r.pattern[1:], `*?[\`)
	return r
}

func cutPrefix(s string, c byte) (string, bool) {
	if s != "" && s[0] == c {
		return s[1:], true
	}
	return s, false
}

// trimTrailingSpaces keeps a space that a backslash protects.
func trimTrailingSpaces(s string) string {
	end := -1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			if end < 0 {
				end = i
			}
		case '\\':
			if i++; i == len(s) {
				return s
			}
			end = -1
		default:
			end = -1
		}
	}
	if end >= 0 {
		return s[:end]
	}
	return s
}

// last returns the last rule of the set that matches, or nil. path is relative
// to the top and has name as its last component.
func (s *ruleset) last(path, name string, isDir, fold bool) *rule {
	rel := path
	if s.base != "" {
		rel = path[len(s.base)+1:]
	}
	for i := len(s.rules) - 1; i >= 0; i-- {
		r := &s.rules[i]
		if r.dirOnly && !isDir {
			continue
		}
		if r.basename && r.matchName(name, fold) || !r.basename && r.matchPath(rel, fold) {
			return r
		}
	}
	return nil
}

func (r *rule) matchName(name string, fold bool) bool {
	switch {
	case r.literal == len(r.pattern):
		return equal(r.pattern, name, fold)
	case r.suffix:
		tail := r.pattern[1:]
		return len(name) >= len(tail) && equal(tail, name[len(name)-len(tail):], fold)
	}
	return wildmatch(r.pattern, name, false, fold)
}

func (r *rule) matchPath(rel string, fold bool) bool {
	if r.literal > len(rel) || !equal(r.pattern[:r.literal], rel[:r.literal], fold) {
		return false
	}
	if r.literal == len(r.pattern) {
		return len(rel) == r.literal
	}
	// git cuts the literal part off before it looks for `**`, so in "foo**/bar" the
	// stars count as standing at the beginning. So do ours.
	return wildmatch(r.pattern[r.literal:], rel[r.literal:], true, fold)
}

func equal(a, b string, fold bool) bool {
	if fold {
		return lower(a) == lower(b)
	}
	return a == b
}
