package level

import "bytes"

// A Grouper finds which lines of one source belong to one record: what is indented
// under a line, Python and Java tracebacks with the exceptions that caused them, what
// Go and Rust write when they panic. It needs no look-ahead: a line either
// continues what came before or begins something new.
type Grouper struct {
	state    state
	level    Level // of the record
	any      bool  // a line came before
	indented bool  // the last one was
	message  int   // lines of a panic's message so far
}

type state uint8

const (
	plainLine state = iota
	inPython        // between "Traceback" and its exception
	pythonEnd       // behind the exception: another one may follow
	inGo            // in the text of a panic
	inBraces        // in an object that is printed over several lines
	inRust          // between the head of a panic and its message
	rustEnd         // behind that: notes and a backtrace may follow
)

// messageMost bounds the lines of a panic's message.
const messageMost = 20

// Next takes the next line of the source. It says whether the line continues the
// record of the line before, and what the record's level is as far as it is known.
func (g *Grouper) Next(line []byte) (continues bool, level Level) {
	own := Unknown
	if continues = g.any && g.continues(line); !continues {
		own = Detect(line)
		g.level = own
		g.state = plainLine
	} else if l := crash(line); g.level == Unknown || l > g.level {
		// A traceback under a mild line is a crash all the same.
		g.level = l
	}
	g.any = true
	g.enter(line, continues)
	return continues, g.level
}

var (
	traceback  = []byte("Traceback (most recent call last):")
	during     = []byte("During handling of the above exception")
	directly   = []byte("The above exception was the direct cause")
	causedBy   = []byte("Caused by: ")
	suppressed = []byte("Suppressed: ")
	goroutine  = []byte("goroutine ")
	createdBy  = []byte("created by ")
	goPanic    = []byte("panic: ")
	goFatal    = []byte("fatal error: ")
	exitStatus = []byte("exit status ")
	goSignal   = []byte("[signal ")
	rustNote   = []byte("note: ")
	rustTrace  = []byte("stack backtrace:")
)

func (g *Grouper) continues(line []byte) bool {
	if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		return !logfmt(line)
	}
	switch g.state {
	case inPython:
		return true // its first line that is not indented is the exception
	case pythonEnd:
		return len(line) == 0 || bytes.HasPrefix(line, during) || bytes.HasPrefix(line, directly) || bytes.HasPrefix(line, traceback)
	case inGo:
		return goText(line)
	case inBraces:
		return len(line) > 0 && (line[0] == '}' || line[0] == ']')
	case inRust:
		// A message may have several lines; what ends it comes once in a process only.
		return g.message == 0 || bytes.HasPrefix(line, rustNote) || bytes.HasPrefix(line, rustTrace) || g.message < messageMost && Detect(line) == Unknown
	case rustEnd:
		return bytes.HasPrefix(line, rustNote) || bytes.HasPrefix(line, rustTrace)
	}
	if len(line) == 0 && g.indented && g.level >= Error {
		return true // between a message and its exception, as .NET writes them
	}
	if bytes.HasPrefix(line, causedBy) || bytes.HasPrefix(line, suppressed) {
		return true
	}
	// What a logger writes under its own line about an error: the exception's.
	return g.level >= Warn && (bytes.HasPrefix(line, traceback) || exception(line))
}

func (g *Grouper) enter(line []byte, continues bool) {
	indented := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
	switch {
	case bytes.HasSuffix(line, traceback):
		g.state = inPython
	case g.state == inPython && !indented:
		g.state = pythonEnd
	case g.state == pythonEnd && len(line) > 0 && !bytes.HasPrefix(line, during) && !bytes.HasPrefix(line, directly) && !indented:
		g.state = plainLine
	case bytes.HasPrefix(line, goPanic), bytes.HasPrefix(line, goFatal):
		g.state = inGo
	case g.state == inRust && continues:
		g.message++
		if bytes.HasPrefix(line, rustNote) || bytes.HasPrefix(line, rustTrace) {
			g.state = rustEnd
		}
	case rustPanic(line):
		g.message = 0
		g.state = rustEnd // with the message in its quotes, as before Rust 1.73
		if line[len(line)-1] == ':' {
			g.state = inRust
		}
	case !continues && len(line) == 1 && (line[0] == '{' || line[0] == '['):
		g.state = inBraces
	case g.state == inBraces && !indented && continues:
		g.state = plainLine
	}
	g.indented = indented
}

// goText says whether a line belongs to what the Go runtime prints on a panic.
func goText(line []byte) bool {
	if len(line) == 0 || bytes.HasPrefix(line, goroutine) || bytes.HasPrefix(line, createdBy) ||
		bytes.HasPrefix(line, exitStatus) || bytes.HasPrefix(line, goSignal) || bytes.HasPrefix(line, goPanic) {
		return true
	}
	// "main.main()", "net/http.(*conn).serve(0x1, {0x2, 0x3})"
	return line[len(line)-1] == ')' && bytes.IndexByte(line, '(') > 0 && bytes.IndexByte(line[:bytes.IndexByte(line, '(')], ' ') < 0
}

// logfmt says whether an indented line is a record of its own all the same: nothing that
// is printed under a line begins with its own level or time and names its level.
func logfmt(line []byte) bool {
	line = trimStart(line)
	for _, key := range recordKeys {
		if bytes.HasPrefix(line, key) {
			return keyed(line[:min(len(line), keyBytes)]) != Unknown
		}
	}
	return false
}

var recordKeys = append([][]byte{[]byte("time="), []byte("ts="), []byte("t=")}, logfmtKeys...)
