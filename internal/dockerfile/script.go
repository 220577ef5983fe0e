package dockerfile

import "strings"

// A simple is one simple command of a shell script.
type simple struct {
	words  []string
	writes []string // targets of > and >>
}

// splitScript cuts a script into simple commands, by the part of the shell's
// grammar that Dockerfiles use: words, quotes, `&&`, `||`, `;`, `&`, `|`, line
// ends, comments and output redirections. ok is false when the script holds
// anything else, which may then do anything.
func splitScript(script string) (commands []simple, ok bool) {
	s := splitter{text: script}
	if !s.run() {
		return nil, false
	}
	s.endCommand()
	for _, c := range s.commands {
		if len(c.words) > 0 && keywords[c.words[0]] {
			return nil, false
		}
	}
	return s.commands, true
}

// keywords begin what is no simple command; eval, source, . and exec run more.
var keywords = map[string]bool{
	"if": true, "then": true, "else": true, "elif": true, "fi": true, "for": true, "while": true, "until": true, "do": true,
	"done": true, "case": true, "esac": true, "function": true, "{": true, "}": true, "!": true, "eval": true, "source": true, ".": true, "exec": true,
}

type splitter struct {
	text     string
	word     strings.Builder
	inWord   bool
	redirect bool // the next word is a target
	current  simple
	commands []simple
}

func (s *splitter) run() bool {
	for i := 0; i < len(s.text); i++ {
		c := s.text[i]
		switch c {
		case ' ', '\t', '\r':
			s.endWord()
		case '\n', ';':
			s.endCommand()
		case '&', '|':
			if i+1 < len(s.text) && s.text[i+1] == c {
				i++
			}
			s.endCommand()
		case '>':
			if !s.startRedirect(&i) {
				return false
			}
		case '<', '(', ')', '`':
			return false
		case '$':
			if i+1 < len(s.text) && s.text[i+1] == '(' {
				return false
			}
			s.add(c)
		case '#':
			if s.inWord {
				s.add(c)
				break
			}
			for i+1 < len(s.text) && s.text[i+1] != '\n' {
				i++
			}
		case '\\':
			if i++; i < len(s.text) && s.text[i] != '\n' {
				s.add(s.text[i])
			}
		case '\'':
			end := strings.IndexByte(s.text[i+1:], '\'')
			if end < 0 {
				return false
			}
			s.inWord = true
			s.word.WriteString(s.text[i+1 : i+1+end])
			i += 1 + end
		case '"':
			if !s.doubleQuoted(&i) {
				return false
			}
		default:
			s.add(c)
		}
	}
	return true
}

func (s *splitter) doubleQuoted(i *int) bool {
	s.inWord = true
	for *i++; *i < len(s.text); *i++ {
		switch c := s.text[*i]; c {
		case '"':
			return true
		case '`':
			return false
		case '$':
			if *i+1 < len(s.text) && s.text[*i+1] == '(' {
				return false
			}
			s.add(c)
		case '\\':
			if *i++; *i < len(s.text) {
				s.add(s.text[*i])
			}
		default:
			s.add(c)
		}
	}
	return false
}

// startRedirect handles >, >>, 2>, 2>&1 and &> (whose & has ended a command
// that goes on: harmless, since both halves are judged).
func (s *splitter) startRedirect(i *int) bool {
	if s.inWord {
		if w := s.word.String(); len(w) != 1 || w[0] < '0' || w[0] > '9' {
			s.endWord()
		}
		s.word.Reset()
		s.inWord = false
	}
	if *i+1 < len(s.text) && s.text[*i+1] == '>' {
		*i++
	}
	if *i+1 < len(s.text) && s.text[*i+1] == '&' {
		if *i+2 < len(s.text) && s.text[*i+2] >= '0' && s.text[*i+2] <= '9' {
			*i += 2
			return true
		}
		return false
	}
	s.redirect = true
	return true
}

func (s *splitter) add(c byte) {
	s.inWord = true
	s.word.WriteByte(c)
}

func (s *splitter) endWord() {
	if !s.inWord {
		return
	}
	if s.redirect {
		s.current.writes = append(s.current.writes, s.word.String())
	} else {
		s.current.words = append(s.current.words, s.word.String())
	}
	s.word.Reset()
	s.inWord, s.redirect = false, false
}

func (s *splitter) endCommand() {
	s.endWord()
	s.redirect = false
	if len(s.current.words)+len(s.current.writes) > 0 {
		s.commands = append(s.commands, s.current)
	}
	s.current = simple{}
}
