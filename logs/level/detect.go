package level

import "bytes"

// Where a level may stand: programs write it before the message, so only the head of
// a line is looked at. Words of the message itself ("no error") are not levels.
const (
	headBytes = 120
	headWords = 8
	keyBytes  = 512 // for level=… of logfmt, which may stand behind other keys
)

// Detect finds the level of a line. It knows JSON objects with a level key (zap,
// zerolog, slog, logrus, bunyan, pino, log4j, serilog, Stackdriver, MongoDB, ECS,
// journald), logfmt, klog, redis, syslog, and lines that name a level in capitals, brackets, behind a tab or
// before a colon ahead of their message, as most loggers of most languages do.
func Detect(line []byte) Level {
	line = trimStart(line)
	if len(line) == 0 {
		return Unknown
	}
	switch c := line[0]; {
	case c == '{':
		if l, ok := jsonLevel(line); ok {
			return l
		}
		return Unknown
	case (c == 'I' || c == 'W' || c == 'E' || c == 'F') && klog(line):
		return letter(c)
	case c == '<':
		if l, ok := priority(line); ok {
			// What forwards the lines of others gives all of them one priority.
			return max(l, keyed(line[:min(len(line), keyBytes)]), head(line[:min(len(line), headBytes)]))
		}
	case c == 'f' && dotnetFail(line):
		return Error
	case c >= '0' && c <= '9':
		if l, ok := redis(line); ok {
			return l
		}
	}
	if l := keyed(line[:min(len(line), keyBytes)]); l != Unknown {
		return l
	}
	if l := head(line[:min(len(line), headBytes)]); l != Unknown {
		return l
	}
	return crash(line)
}

func trimStart(line []byte) []byte {
	for len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		line = line[1:]
	}
	// Colours around the level would hide it.
	for len(line) > 2 && line[0] == 0x1b && line[1] == '[' {
		i := bytes.IndexByte(line, 'm')
		if i < 0 || i > 16 {
			break
		}
		line = line[i+1:]
	}
	return line
}

// klog is "I1121 03:49:17.123456       1 file.go:12] text".
func klog(line []byte) bool {
	return len(line) > 15 && digits(line[1:5]) && line[5] == ' ' && digits(line[6:8]) && line[8] == ':' && digits(line[9:11]) && line[11] == ':'
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// dotnetFail is "fail: " as .NET's console logger writes an error, with colours or without.
// Its other words are levels wherever they stand.
func dotnetFail(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("fail"))
	return ok && bytes.HasPrefix(trimStart(rest), []byte(": "))
}

// priority is "<3>text" of sd-daemon(3), and "<165>1 2026-11-21T03:49:17Z …" or
// "<165>Nov 21 03:49:17 …" of syslog (RFC 5424, RFC 3164), whose numbers hold a facility too.
func priority(line []byte) (Level, bool) {
	n, i := 0, 1
	for i < len(line) && i <= 3 && line[i] >= '0' && line[i] <= '9' {
		n = n*10 + int(line[i]-'0')
		i++
	}
	if i == 1 || n > 191 || i == len(line) || line[i] != '>' {
		return Unknown, false
	}
	rest := line[i+1:]
	rfc5424 := len(rest) > 2 && rest[0] >= '1' && rest[0] <= '9' && rest[1] == ' '
	rfc3164 := len(rest) > 15 && rest[3] == ' ' && rest[6] == ' ' && rest[9] == ':' && rest[12] == ':'
	if (i > 2 || n > 7) && !rfc5424 && !rfc3164 {
		return Unknown, false
	}
	return syslog(n % 8), true
}

// syslog is the level of a severity of RFC 5424: 0 emergency, … 7 debug.
func syslog(severity int) Level {
	switch {
	case severity <= 2:
		return Fatal
	case severity == 3:
		return Error
	case severity == 4:
		return Warn
	case severity <= 6:
		return Info
	}
	return Debug
}

// redis is "1:M 21 Nov 2026 03:49:17.123 * Ready to accept connections".
func redis(line []byte) (Level, bool) {
	colon := bytes.IndexByte(line[:min(len(line), 9)], ':')
	if colon < 1 || len(line) < colon+30 || line[colon+2] != ' ' || !digits(line[:colon]) || !digits(line[colon+3:colon+5]) {
		return Unknown, false
	}
	switch line[colon+1] {
	case 'M', 'S', 'C', 'X':
	default:
		return Unknown, false
	}
	rest := line[colon+3:]
	for i := 0; i < 4; i++ { // day, month, year, time
		sp := bytes.IndexByte(rest, ' ')
		if sp < 0 {
			return Unknown, false
		}
		rest = rest[sp+1:]
	}
	if len(rest) == 0 {
		return Unknown, false
	}
	switch rest[0] {
	case '.':
		return Debug, true
	case '-':
		return Debug, true
	case '*':
		return Info, true
	case '#':
		return Warn, true
	}
	return Unknown, false
}

var logfmtKeys = [][]byte{[]byte("level="), []byte("lvl="), []byte("severity="), []byte("loglevel=")}

// keyed is logfmt: level=info, lvl="warn".
func keyed(line []byte) Level {
	if bytes.IndexByte(line, '=') < 0 {
		return Unknown
	}
	for _, key := range logfmtKeys {
		for at := 0; ; {
			i := bytes.Index(line[at:], key)
			if i < 0 {
				break
			}
			i += at
			at = i + len(key)
			if i > 0 && line[i-1] != ' ' && line[i-1] != '\t' && line[i-1] != ',' && line[i-1] != '@' || quoted(line[:i]) {
				continue
			}
			value := bytes.TrimLeft(line[at:], `"'[`)
			n := 0
			for n < len(value) && isLetter(value[n]) {
				n++
			}
			if l := word(value[:n]); l != Unknown {
				return l
			}
		}
	}
	return Unknown
}

// quoted says whether what follows is text of a quoted value: msg="the level=debug one".
func quoted(before []byte) bool {
	in := false
	for i := 0; i < len(before); i++ {
		switch before[i] {
		case '"':
			in = !in
		case '\\':
			i++
		}
	}
	return in
}

// head looks at the first words of a line.
func head(line []byte) Level {
	words := 0
	for i := 0; i < len(line) && words < headWords; {
		if !isLetter(line[i]) {
			if line[i] == 0x1b { // a colour: its closing letter is no word
				for i < len(line) && !isLetter(line[i]) {
					i++
				}
			}
			i++
			continue
		}
		start := i
		for i < len(line) && isLetter(line[i]) {
			i++
		}
		if l := standing(line, start, i); l != Unknown {
			return l
		}
		// What is glued to digits, dots or slashes is part of a time, a name, a path: one
		// word to the eye.
		for i < len(line) && line[i] != ' ' && line[i] != '\t' && line[i] != ']' && line[i] != '[' && line[i] != '|' && line[i] != '.' && line[i] != ':' {
			i++
		}
		words++
	}
	return Unknown
}

// standing says which level line[start:end] is, where it stands like one.
func standing(line []byte, start, end int) Level {
	if end-start < 3 || end-start > 9 {
		return Unknown
	}
	before, after := byte(0), byte(0)
	if start > 0 {
		before = line[start-1]
	}
	if end < len(line) {
		after = line[end]
	}
	switch before {
	case 0, ' ', '\t', '[', '(', '<', '|', '.', ':', '"', 'm', '/', '-', ',', '=':
	default:
		return Unknown
	}
	switch after {
	case 0, ' ', '\t', ']', ')', '>', '|', ':', ',', '"', 0x1b, '!', '/', '-', '=', ';':
	case '[':
		if start > 0 { // logrus: "INFO[0000] text"
			return Unknown
		}
	default:
		return Unknown
	}
	l := word(line[start:end])
	if l == Unknown {
		return Unknown
	}
	enclosed := before == '[' && after == ']' || before == '<' && after == '>' || before == '(' && after == ')' || before == '|' && after == '|' ||
		before == '[' && (after == ' ' || after == '|') || before == ':' && after == ']' || before == '\t' && after == '\t'
	switch {
	case enclosed:
		return l
	case after == '/' && before == ' ' && start > 1 && line[start-2] == ':' && capitals(line[start:end]):
		return l // celery: "[2026-11-21 03:49:17,123: INFO/MainProcess]"
	case before == '/' || before == '-' || after == '/' || after == '-' && before != ' ':
		return Unknown // part of a path or of a name
	case capitals(line[start:end]):
		return l
	case start == 0 && (after == ':' || after == ' ' && end-start <= 5 && end+1 < len(line) && line[end+1] == '-'):
		return l // "info: text", "error: text", "warn - text"
	case after == ':' && before == ' ' && timeBefore(line[:start]):
		return l // "03:49:17 error: text"
	case before == '\t' || before == '|':
		return l
	}
	return Unknown
}

// timeBefore says whether all that stands before a word is a time.
func timeBefore(b []byte) bool {
	some := false
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			some = true
		case c == ':' || c == '-' || c == '.' || c == ',' || c == ' ' || c == 'T' || c == 'Z' || c == '+' || c == '/' || c == '[' || c == ']':
		default:
			return false
		}
	}
	return some
}

func capitals(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

var crashes = []struct {
	start []byte
	level Level
}{
	{[]byte("Traceback (most recent call last):"), Error},
	{[]byte("Exception in thread "), Error},
	{[]byte("panic: "), Fatal},
	{[]byte("fatal error: "), Fatal},
	{[]byte("goroutine "), Unknown},
	{[]byte("Uncaught "), Error},
	{[]byte("Unhandled "), Error},
	{[]byte("npm ERR!"), Error},
	{[]byte("Segmentation fault"), Fatal},
}

// crash knows how programs begin to tell that they fail, and exceptions that are
// named at the start of a line: "java.io.IOException: x", "TypeError: x".
func crash(line []byte) Level {
	for _, c := range crashes {
		if bytes.HasPrefix(line, c.start) {
			return c.level
		}
	}
	if rustPanic(line) {
		return Fatal
	}
	if exception(line) {
		return Error
	}
	return Unknown
}

// rustPanic is "thread 'main' panicked at src/main.rs:2:5:", since Rust 1.91 with the
// thread's number behind its name.
func rustPanic(line []byte) bool {
	return bytes.HasPrefix(line, rustThread) && bytes.Contains(line[:min(len(line), headBytes)], rustPanicked)
}

var rustThread, rustPanicked = []byte("thread '"), []byte(" panicked at ")

// exception says whether the line begins with the name of an exception class.
func exception(line []byte) bool {
	i := 0
	for i < len(line) && i < 100 && (isLetter(line[i]) || line[i] == '.' || line[i] == '$' || line[i] == '_' || line[i] >= '0' && line[i] <= '9') {
		i++
	}
	if i == 0 || i < len(line) && line[i] != ':' && line[i] != ' ' {
		return false
	}
	name := line[:i]
	for _, end := range exceptionEnds {
		if len(name) > len(end) && bytes.HasSuffix(name, end) {
			// "TypeError:" and "java.lang.Error: x" are; "MyError happened" is not.
			return i == len(line) || line[i] == ':'
		}
	}
	return false
}

var exceptionEnds = [][]byte{[]byte("Exception"), []byte("Error")}
