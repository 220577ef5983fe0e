package cluster

import (
	"fmt"
	"strings"
	"unicode"

	"sigs.k8s.io/kind/pkg/log"
)

// A stepLogger turns what kind logs into steps for a person: the line that opens
// each step, without bullets, dots and pictures. The line that closes it says
// the same again and is left out.
type stepLogger struct {
	say func(string)
}

func (l *stepLogger) Warn(message string)            { l.tell("warning: " + message) }
func (l *stepLogger) Warnf(format string, a ...any)  { l.Warn(fmt.Sprintf(format, a...)) }
func (l *stepLogger) Error(message string)           { l.tell(message) }
func (l *stepLogger) Errorf(format string, a ...any) { l.Error(fmt.Sprintf(format, a...)) }
func (l *stepLogger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return stepInfo{l}
}

type stepInfo struct{ l *stepLogger }

func (i stepInfo) Info(message string)           { i.l.info(message) }
func (i stepInfo) Infof(format string, a ...any) { i.l.info(fmt.Sprintf(format, a...)) }
func (i stepInfo) Enabled() bool                 { return true }

func (l *stepLogger) info(message string) {
	step, opens := strings.CutPrefix(strings.TrimSpace(message), "•")
	if opens {
		l.tell(strings.TrimSuffix(strings.TrimSpace(step), "..."))
	}
}

func (l *stepLogger) tell(message string) {
	message = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r > unicode.MaxLatin1 && !unicode.IsLetter(r) && r != '≤' {
			return -1
		}
		return r
	}, message)), " ")
	switch {
	case message == "" || l.say == nil:
		return
	case strings.Contains(message, "cgroup v1 is deprecated"): // kdev sets what Kubernetes then needs
		return
	case strings.HasPrefix(message, "Ensuring node image"): // kdev has said more about it
		return
	}
	l.say(strings.ToLower(message[:1]) + message[1:])
}
