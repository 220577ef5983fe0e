package ignore

import "strings"

// wildmatch is git's wildmatch.c with the meaning that gitignore(5) gives it.
// With pathname set (a pattern that holds a slash), `*`, `?` and `[]` stop at a
// slash and `**` between slashes spans directories; without, the text is a base
// name and `*` takes all.
func wildmatch(pattern, text string, pathname, fold bool) bool {
	if fold {
		text = lower(text)
	}
	return wild(pattern, 0, text, flags{pathname, fold}) == match
}

// With fold the text is lower already, and so is what the pattern holds outside
// of brackets and behind no backslash: git does not fold it there either.
type flags struct{ pathname, fold bool }

type outcome int

const (
	match      outcome = iota
	noMatch            // here; an earlier star may try the next position
	abortAll           // the text is used up: no star can help
	abortStars         // only a `**` further left can help
)

// wild matches pattern[p:] with text. The whole pattern is at hand because what
// `**` means depends on what stands before it.
func wild(pattern string, p int, text string, f flags) outcome {
	for ; p < len(pattern); p++ {
		c := pattern[p]
		if text == "" && c != '*' {
			return abortAll
		}
		switch c {
		case '\\':
			p++
			if p == len(pattern) || pattern[p] != text[0] {
				return noMatch
			}
		case '?':
			if f.pathname && text[0] == '/' {
				return noMatch
			}
		case '*':
			return star(pattern, p, text, f)
		case '[':
			end, in, ok := class(pattern, p+1, text[0], f.fold)
			if !ok {
				return abortAll
			}
			if !in || f.pathname && text[0] == '/' {
				return noMatch
			}
			p = end
		default:
			if f.fold && c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != text[0] {
				return noMatch
			}
		}
		text = text[1:]
	}
	if text != "" {
		return noMatch
	}
	return match
}

// star handles one or more stars at pattern[p].
func star(pattern string, p int, text string, f flags) outcome {
	first := p
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	spans := !f.pathname
	if f.pathname && p-first > 1 {
		before := first == 0 || pattern[first-1] == '/'
		rest := pattern[p:]
		if before && (rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`)) {
			// `a/**/b` matches a/b: the slash after the stars may stand for nothing.
			if rest != "" && rest[0] == '/' && wild(pattern, p+1, text, f) == match {
				return match
			}
			spans = true
		}
	}
	if p == len(pattern) {
		if !spans && strings.Contains(text, "/") {
			return abortStars
		}
		return match
	}
	if !spans && pattern[p] == '/' {
		// One star and a slash: the star takes exactly the rest of this component.
		slash := strings.IndexByte(text, '/')
		if slash < 0 {
			return abortAll
		}
		return wild(pattern, p+1, text[slash+1:], f)
	}
	for ; text != ""; text = text[1:] {
		switch got := wild(pattern, p, text, f); {
		case got == noMatch:
			if !spans && text[0] == '/' {
				return abortStars
			}
		case !spans || got != abortStars:
			return got
		}
	}
	return abortAll
}

// class matches c with the bracket expression that begins at pattern[p], after
// its '['. It returns the position of the closing bracket; ok is false when
// there is none.
func class(pattern string, p int, c byte, fold bool) (end int, in, ok bool) {
	negated := p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^')
	if negated {
		p++
	}
	var prev byte
	for first := true; ; first = false {
		if p >= len(pattern) {
			return 0, false, false
		}
		b := pattern[p]
		if b == ']' && !first {
			return p, in != negated, true
		}
		switch {
		case b == '\\':
			if p++; p >= len(pattern) {
				return 0, false, false
			}
			b = pattern[p]
			in = in || b == c
		case b == '-' && prev != 0 && p+1 < len(pattern) && pattern[p+1] != ']':
			p++
			if pattern[p] == '\\' {
				if p++; p >= len(pattern) {
					return 0, false, false
				}
			}
			in = in || prev <= c && c <= pattern[p]
			if up := c - 'a' + 'A'; fold && c >= 'a' && c <= 'z' {
				in = in || prev <= up && up <= pattern[p]
			}
			b = 0 // the end of a range does not begin another
		case b == '[' && p+1 < len(pattern) && pattern[p+1] == ':':
			name, found := strings.CutSuffix(upToBracket(pattern[p+2:]), ":")
			if strings.IndexByte(pattern[p+2:], ']') < 0 {
				return 0, false, false
			}
			if !found { // no [:name:]: a bracket like any other character
				in = in || c == '['
				break
			}
			is, known := classes[name]
			if !known {
				return 0, false, false
			}
			in = in || is(c) || fold && name == "upper" && isAlpha(c)
			p += 2 + len(name) + 1
			b = 0
		default:
			in = in || b == c
		}
		prev = b
		p++
	}
}

func upToBracket(s string) string {
	before, _, _ := strings.Cut(s, "]")
	return before
}

// The classes of POSIX in the C locale, as git has them.
var classes = map[string]func(byte) bool{
	"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
	"alpha":  isAlpha,
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"digit":  isDigit,
	"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
	"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
	"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
	"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !isAlpha(c) && !isDigit(c) },
	"space":  func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
	"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
	"xdigit": func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// lower folds ASCII only, as git does.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
