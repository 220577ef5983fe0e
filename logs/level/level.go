package level

import (
	"fmt"
	"strings"
)

// A Level is a severity. Levels compare: a higher one is worse.
type Level uint8

// The levels. Unknown is a line that does not say.
const (
	Unknown Level = iota
	Trace
	Debug
	Info
	Warn
	Error
	Fatal
)

var names = [...]string{"", "trace", "debug", "info", "warn", "error", "fatal"}

// Names are the levels that a flag takes, from the mildest.
func Names() []string { return names[1:] }

// String is the level's name; "" for Unknown.
func (l Level) String() string {
	if int(l) < len(names) {
		return names[l]
	}
	return ""
}

// Parse reads a level as flags write it.
func Parse(s string) (Level, error) {
	if l := word([]byte(s)); l != Unknown {
		return l, nil
	}
	return Unknown, fmt.Errorf("level should be one of '%s', not %q", strings.Join(Names(), "', '"), s)
}

// word is the level that a single word names, in any case.
func word(s []byte) Level {
	if len(s) < 3 || len(s) > 9 {
		return Unknown
	}
	var low [9]byte
	for i, c := range s {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	switch string(low[:len(s)]) {
	case "trace", "trc", "trce", "finest", "finer", "silly":
		return Trace
	case "debug", "dbg", "debu", "dbug", "fine", "verbose":
		return Debug
	case "info", "inf", "notice", "note", "log", "http", "success":
		return Info
	case "warn", "warning", "wrn":
		return Warn
	case "error", "err", "erro", "eror", "severe":
		return Error
	case "fatal", "ftl", "fata", "panic", "pnc", "dpanic", "critical", "crit", "alert", "emerg", "emergency":
		return Fatal
	}
	return Unknown
}

// letter is the level of klog's, MongoDB's and Ruby's single letters.
func letter(c byte) Level {
	switch c {
	case 'T':
		return Trace
	case 'D':
		return Debug
	case 'I':
		return Info
	case 'W':
		return Warn
	case 'E':
		return Error
	case 'F':
		return Fatal
	}
	return Unknown
}

// number is the level of node-bunyan and pino: 10 trace, 20 debug, … 60 fatal.
func number(n int) Level {
	switch {
	case n < 10:
		return Unknown
	case n < 20:
		return Trace
	case n < 30:
		return Debug
	case n < 40:
		return Info
	case n < 50:
		return Warn
	case n < 60:
		return Error
	case n < 100:
		return Fatal
	}
	return Unknown
}
