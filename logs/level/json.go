package level

import "bytes"

// levelKeys are the keys under which loggers write a level, by length.
func levelKey(key []byte) bool {
	switch string(key) {
	case "level", "lvl", "severity", "log.level", "levelname", "@level", "@l", "loglevel", "logLevel", "Level", "s", "L", "level_name", "severity_text", "severityText", "LogLevel":
		return true
	}
	return false
}

// jsonLevel finds the level of an object by its top-level keys, without parsing more
// of it than up to there. ok is false where the line does not look like an object.
func jsonLevel(line []byte) (l Level, ok bool) {
	s := scanner{b: line, i: 1}
	depth := 1
	fallback := Unknown
	ecs := false // in the object under "log", whose "level" it is
	for s.i < len(s.b) {
		s.space()
		if s.i == len(s.b) {
			return fallback, true
		}
		switch c := s.b[s.i]; c {
		case '{', '[':
			depth++
			s.i++
		case '}', ']':
			depth--
			s.i++
			ecs = ecs && depth >= 2
			if depth == 0 {
				return fallback, true
			}
		case '"':
			text, closed := s.text()
			if !closed {
				return fallback, true
			}
			s.space()
			if depth != 1 && !(ecs && depth == 2) || s.i == len(s.b) || s.b[s.i] != ':' {
				continue // a value, or not ours
			}
			s.i++
			s.space()
			switch {
			case depth == 1 && string(text) == "log" && s.i < len(s.b) && s.b[s.i] == '{':
				ecs = true
				continue
			case depth == 1 && string(text) == "PRIORITY":
				fallback = s.severity() // journald's, of what wrote the line: the message may know better
				continue
			case depth == 1 && steps[string(text)] != nil:
				if found := atOrAbove(steps[string(text)], s.number()); found != Unknown {
					return found, true
				}
				continue
			case depth == 1 && !levelKey(text), depth == 2 && string(text) != "level":
				s.scalar()
				continue
			}
			if found := s.value(len(text) == 1); found != Unknown {
				return found, true
			}
		default:
			s.i++
		}
	}
	return fallback, true
}

type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t') {
		s.i++
	}
}

// text reads a string; escapes stay as they are.
func (s *scanner) text() (text []byte, closed bool) {
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			s.i++
			return s.b[start : s.i-1], true
		}
		s.i++
	}
	s.i = len(s.b)
	return nil, false
}

// severity reads journald's number of syslog, which it writes as a string.
func (s *scanner) severity() Level {
	text := []byte(nil)
	if s.i < len(s.b) && s.b[s.i] == '"' {
		text, _ = s.text()
	} else {
		start := s.i
		s.number()
		text = s.b[start:s.i]
	}
	if len(text) != 1 || text[0] < '0' || text[0] > '7' {
		return Unknown
	}
	return syslog(int(text[0] - '0'))
}

// scalar skips a string value, so that its text is not taken for a key.
func (s *scanner) scalar() {
	if s.i < len(s.b) && s.b[s.i] == '"' {
		s.text()
	}
}

// value reads the value of a level key: a word, a letter where the key is short (as
// MongoDB's "s":"I"), or a number.
func (s *scanner) value(short bool) Level {
	if s.i == len(s.b) {
		return Unknown
	}
	if s.b[s.i] == '"' {
		text, _ := s.text()
		if i := bytes.IndexAny(text, "+-"); i > 0 {
			text = text[:i] // slog's levels between the named ones: "INFO+2"
		}
		if l := word(text); l != Unknown {
			return l
		}
		if short && len(text) > 0 && len(text) <= 2 {
			return letter(text[0])
		}
		if len(text) > 11 && string(text[:11]) == "Information" || string(text) == "Information" {
			return Info // serilog
		}
		return Unknown
	}
	n := s.number()
	if short {
		return Unknown
	}
	return number(n)
}

// number reads digits; 0 where there are none.
func (s *scanner) number() int {
	n, start := 0, s.i
	for s.i < len(s.b) && s.i-start < 6 && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		n = n*10 + int(s.b[s.i]-'0')
		s.i++
	}
	return n
}

// steps are the numbers at which the levels begin, from trace to fatal, under keys that
// hold numbers only: OpenTelemetry's, Python's, logback's.
var steps = map[string][]int{
	"severityNumber":  {1, 5, 9, 13, 17, 21},
	"SeverityNumber":  {1, 5, 9, 13, 17, 21},
	"severity_number": {1, 5, 9, 13, 17, 21},
	"levelno":         {5, 10, 20, 30, 40, 50},
	"level_value":     {5000, 10000, 20000, 30000, 40000, 50000},
}

func atOrAbove(steps []int, n int) Level {
	l := Unknown
	for _, from := range steps {
		if n >= from {
			l++
		}
	}
	return l
}
