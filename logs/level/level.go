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
	return Unknown, fmt.Errorf("level should be one of %s, not %q", strings.Join(names[1:], ", "), s)
}

// word is the level that a single word names, in any case: "WARN", "warning", "E".
func word(s []byte) Level {
	if len(s) == 0 || len(s) > 9 {
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
	case "trace", "trc", "finest", "finer", "silly":
		return Trace
	case "debug", "dbg", "debu", "fine", "verbose", "config":
		return Debug
	case "info", "inf", "notice", "note", "log", "success":
		return Info
	case "warn", "warning", "wrn", "warni":
		return Warn
	case "error", "err", "eror", "erro", "severe", "failure":
		return Error
	case "fatal", "ftl", "fata", "panic", "pnc", "dpanic", "critical", "crit", "alert", "emerg", "emergency":
		return Fatal
	}
	return Unknown
}
