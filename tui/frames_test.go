package tui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
)

// scenes are the panes and states whose frames are kept.
var scenes = []struct {
	name  string
	state func() *session.State
	keys  []string
}{
	{"starting", starting, nil},
	{"ready", calm, nil},
	{"broken", broken, nil},
	{"day", day, nil},
	{"pods", day, []string{"enter"}},
	{"failed", day, []string{"down"}},
	{"filter", day, []string{"/", "type:a"}},
	{"unready", day, []string{"u"}},
	{"crowd", func() *session.State { return crowd(100) }, []string{"pgdown", "pgdown", "down"}},
	{"logs-one", day, []string{"1", "a"}},
	{"logs-scrolled", day, []string{"1", "pgup"}},
	{"logs-wrap-times", day, []string{"1", "w", "t"}},
	{"logs-pretty", calm, []string{"1", "p"}},
	{"logs-errors", day, []string{"1", "l", "l", "l"}},
	{"logs-error", day, []string{"1", "e", "e"}},
	{"search-typing", day, []string{"1", "/", "type:GET"}},
	{"search-regexp-wrong", day, []string{"1", "/", "ctrl+r", "type:(GET"}},
	{"search", day, []string{"1", "/", "type:KeyError", "enter", "n"}},
	{"search-only", day, []string{"1", "/", "type:KeyError", "enter", "x"}},
	{"build", day, []string{"down", "down", "down", "2"}},
	{"build-done", day, []string{"2"}},
	{"build-none", day, []string{"G", "up", "2"}},
	{"rollout", day, []string{"3"}},
	{"events", day, []string{"down", "down", "down", "down", "3", "end"}},
	{"included", included, nil},
	{"sync", day, []string{"4"}},
	{"problem", day, []string{"down", "5"}},
	{"problem-none", calm, []string{"5"}},
	{"diff", day, []string{"6"}},
	{"full-logs", day, []string{"1", "+", "+"}},
	{"half", day, []string{"+"}},
	{"full-services", day, []string{"+", "+"}},
	{"palette", day, []string{":", "type:re"}},
	{"help", day, []string{"?"}},
	{"scale", day, []string{"S", "backspace"}},
	{"delete-pod", day, []string{"enter", "down", "D"}},
	{"local", workshop, nil},
	{"local-server", workshop, []string{"down", "down", "3"}},
	{"local-problem", workshop, []string{"G", "5"}},
	{"local-stand-in", workshop, []string{"3"}},
	{"forward", day, []string{"f", "type:8081:80"}},
	{"roll-back", day, []string{"B"}},
	{"environment", day, []string{":", "type:environment", "enter", "type:staging", "enter"}},
	{"branch", day, []string{":", "type:branch", "enter", "down"}},
	{"environment-unknown", day, []string{":", "type:environment", "enter", "type:stagin", "enter"}},
	{"outcome", day, []string{"r"}},
	{"outcome-failed", day, []string{"b"}},
}

var sizes = [][2]int{{80, 24}, {120, 40}, {200, 60}}

// TestFrames compares whole frames; UPDATE=1 writes them anew.
func TestFrames(t *testing.T) {
	for _, scene := range scenes {
		for _, size := range sizes {
			name := fmt.Sprintf("%s-%dx%d", scene.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				d := newDesk()
				d.write()
				m, _ := open(scene.state(), d, size[0], size[1])
				drive(m, keys(scene.keys...)...)
				frame := m.Frame()
				fits(t, frame, size[0], size[1])
				golden(t, name, frame)
			})
		}
	}
}

func fits(t *testing.T, frame string, width, height int) {
	t.Helper()
	if n := strings.Count(frame, "\n") + 1; n != height {
		t.Errorf("%d rows, want %d", n, height)
	}
	for row := range strings.SplitSeq(frame, "\n") {
		if w := ansi.StringWidth(row); w > width {
			t.Errorf("a row is %d wide, want at most %d: %q", w, width, row)
		}
	}
}

func golden(t *testing.T, name, frame string) {
	t.Helper()
	got := ""
	for row := range strings.SplitSeq(ansi.Strip(frame), "\n") {
		got += strings.TrimRight(row, " ") + "\n"
	}
	file := filepath.Join("testdata", "frames", name+".txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if dir := os.Getenv("FRAMES"); dir != "" { // with their colours, to be looked at
		if err := os.WriteFile(filepath.Join(dir, name+".ansi"), []byte(frame), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("frame differs from %s:\n%s", file, got)
	}
}

// TestAnySize draws every scene on screens of any size, tiny ones too.
func TestAnySize(t *testing.T) {
	for _, scene := range scenes {
		d := newDesk()
		d.write()
		m, _ := open(scene.state(), d, 80, 24)
		drive(m, keys(scene.keys...)...)
		for _, size := range [][2]int{{1, 1}, {2, 2}, {5, 3}, {20, 4}, {30, 8}, {40, 12}, {79, 23}, {300, 10}, {20, 100}} {
			drive(m, tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			t.Run(fmt.Sprintf("%s-%dx%d", scene.name, size[0], size[1]), func(t *testing.T) { fits(t, m.Frame(), size[0], size[1]) })
		}
	}
}

// TestNothingButWords: without colours, the frame has the same words and glyphs.
func TestNothingButWords(t *testing.T) {
	d := newDesk()
	d.write()
	m, _ := open(day(), d, 120, 40)
	coloured := ansi.Strip(m.Frame())
	for m.theme.Name != "none" {
		drive(m, keys("T")...)
	}
	drive(m, keys("esc")...) // takes back that it says so
	plain := m.Frame()
	if strings.Contains(plain, "\x1b") {
		t.Error("theme none has control sequences")
	}
	if trim(plain) != trim(coloured) {
		t.Errorf("words differ:\n%s\n---\n%s", plain, coloured)
	}
}

func trim(frame string) string {
	rows := strings.Split(frame, "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return strings.Join(rows, "\n")
}
