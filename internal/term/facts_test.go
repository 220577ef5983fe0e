package term

import (
	"bytes"
	"testing"
)

func TestColorDecision(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode ColorMode
		tty  bool
		env  map[string]string
		want bool
	}{
		{"terminal", ColorAuto, true, nil, true},
		{"pipe", ColorAuto, false, nil, false},
		{"always to a pipe", ColorAlways, false, nil, true},
		{"never on a terminal", ColorNever, true, nil, false},
		{"a flag wins over NO_COLOR", ColorAlways, true, map[string]string{"NO_COLOR": "1"}, true},
		{"NO_COLOR with any value", ColorAuto, true, map[string]string{"NO_COLOR": "yes please"}, false},
		{"NO_COLOR=0 counts too", ColorAuto, true, map[string]string{"NO_COLOR": "0"}, false},
		{"NO_COLOR wins over CLICOLOR_FORCE", ColorAuto, true, map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, false},
		{"CLICOLOR_FORCE to a pipe", ColorAuto, false, map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{"CLICOLOR_FORCE=0", ColorAuto, false, map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{"CLICOLOR=0", ColorAuto, true, map[string]string{"CLICOLOR": "0"}, false},
		{"CLICOLOR=1 to a pipe", ColorAuto, false, map[string]string{"CLICOLOR": "1"}, false},
		{"dumb terminal", ColorAuto, true, map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.mode.Decide(tt.tty, func(k string) string { return tt.env[k] }); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseColorMode(t *testing.T) {
	for _, s := range []string{"", "auto", "always", "never"} {
		if _, err := ParseColorMode(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := ParseColorMode("sometimes"); err == nil {
		t.Error("sometimes is no mode")
	}
}

func TestDetectOfABuffer(t *testing.T) {
	f := Detect(&bytes.Buffer{}, ColorAuto, func(string) string { return "" })
	if f.TTY || f.Color || f.Width != 80 || f.Height != 24 {
		t.Errorf("got %+v", f)
	}
}
