package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sample() *session.State {
	return &session.State{
		Project: "shop", Namespace: "shop", Context: "kind-kdev", Started: began,
		Services: []session.Service{
			{Name: "web", Phase: session.Ready, Desired: 2, Current: 2, Change: &session.Change{Outcome: session.Served, Saved: began, Serving: began.Add(8 * time.Millisecond)},
				Ports: []session.Port{{URL: "http://localhost:8080"}}},
			{Name: "api", Phase: session.FailedPhase, Desired: 1, Pods: []session.Pod{{Name: "api-1", Restarts: 3}},
				Problem: &problem.Problem{Code: "crash", Where: "Deployment/api", Summary: "container api exited with 1",
					Output: "Traceback\nKeyError: 'x'\n", Hint: "read the last lines above"}},
			{Name: "worker", Phase: session.Building, Waiting: &session.Waiting{Text: "package.json changed"}, Desired: 1, Current: 1},
		},
	}
}

func drive(m Model, msgs ...tea.Msg) Model {
	for _, msg := range msgs {
		next, _ := m.Update(msg)
		m = next.(Model)
	}
	return m
}

func key(s string) tea.Msg {
	switch s {
	case "down":
		return tea.KeyPressMsg{Code: tea.KeyDown}
	case "enter":
		return tea.KeyPressMsg{Code: tea.KeyEnter}
	}
	return tea.KeyPressMsg{Code: rune(s[0]), Text: s}
}

// TestFrames compares whole frames; UPDATE=1 writes them anew.
func TestFrames(t *testing.T) {
	lines := LineMsg{[]Line{{"web", "web-1 | GET /"}, {"api", "api-1 | starting"}, {"", "kdev ✓ applied 9 objects"}}}
	tests := map[string][]tea.Msg{
		"all":     {lines},
		"failure": {lines, key("down")},
		"only":    {lines, key("down"), key("enter")},
		"waiting": {lines, key("down"), key("down")},
		"narrow":  {tea.WindowSizeMsg{Width: 40, Height: 12}, lines},
		"project": {StateMsg{&session.State{Project: "shop", Context: "kind-kdev", Namespace: "shop", Started: began,
			Problems: []*problem.Problem{{Code: "render-failed", Where: "deploy/kustomization.yaml:3", Summary: "no such file"}}}}},
	}
	for name, msgs := range tests {
		t.Run(name, func(t *testing.T) {
			m := drive(New(sample(), began.Add(90*time.Second)), tea.WindowSizeMsg{Width: 100, Height: 20})
			m = drive(m, msgs...)
			frame := m.frame()
			if n := strings.Count(frame, "\n") + 1; n != m.height {
				t.Errorf("%d lines, want %d", n, m.height)
			}
			for line := range strings.SplitSeq(frame, "\n") {
				if w := ansi.StringWidth(line); w > m.width {
					t.Errorf("a line is %d wide, want at most %d: %q", w, m.width, line)
				}
			}
			golden(t, name, ansi.Strip(frame)+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
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

func TestScrollingStaysWhileLinesCome(t *testing.T) {
	var many []Line
	for range 100 {
		many = append(many, Line{"web", "old"})
	}
	m := drive(New(sample(), began), tea.WindowSizeMsg{Width: 80, Height: 24}, LineMsg{many}, key("b"))
	before := m.logLines()
	m = drive(m, LineMsg{[]Line{{"web", "new"}}})
	after := m.logLines()
	if strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("what is being read moved:\n%s\n---\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if m = drive(m, key("G")); m.back != 0 || m.logLines()[len(m.logLines())-1] != "new" {
		t.Errorf("G does not show the newest line")
	}
}

func TestLeaving(t *testing.T) {
	for _, k := range []string{"q"} {
		m := New(sample(), began)
		next, cmd := m.Update(key(k))
		if !next.(Model).Left() || cmd == nil {
			t.Errorf("%s does not leave", k)
		}
	}
}
