package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// Level says how much a notice matters.
type Level int

const (
	Info Level = iota // something began or is being explained
	Done              // something ended well
	Warn              // something needs attention, the session goes on
	Fail              // something failed; Problem says what
)

// levels are the words of the JSON form.
var levels = [...]string{Info: "info", Done: "done", Warn: "warn", Fail: "fail"}

func (l Level) String() string { return levels[l] }

// MarshalJSON writes the level's word.
func (l Level) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Level) UnmarshalJSON(b []byte) error {
	var word string
	if err := json.Unmarshal(b, &word); err != nil {
		return err
	}
	for i, w := range levels {
		if w == word {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no level of a notice", word)
}

// Notice is one thing that happened, for the faces that show a stream. Its JSON
// form is one line of `kdev up --output json` and of `kdev events`.
type Notice struct {
	Time    time.Time        `json:"time"`
	Level   Level            `json:"level"`
	Service string           `json:"service,omitempty"` // empty: the session as a whole
	Code    string           `json:"code"`              // stable name of what happened: "build-done", "synced", …
	Text    string           `json:"text"`
	Took    Millis           `json:"tookMs,omitempty"` // of the unit that ended; zero when none did
	Step    *Step            `json:"step,omitempty"`   // of a build, with "build-step": for programs, too much for people
	Problem *problem.Problem `json:"problem,omitempty"`
}

// A Step is one step of a build that has ended.
type Step struct {
	Name   string `json:"name"`
	Cached bool   `json:"cached"`           // nothing was run
	Bytes  int64  `json:"bytes,omitempty"`  // of the layer that it made, or of what it pushed
	Took   Millis `json:"tookMs,omitempty"` // of one in a State; a Notice says it itself
}

// KeptVolumes says which volume claims stay, and how to get rid of them.
func KeptVolumes(names []string) string {
	return "kept volumes: " + strings.Join(names, " ") + "; `kdev down --volumes` removes them"
}

// counted is a number of things, in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
