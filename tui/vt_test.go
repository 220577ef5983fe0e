package tui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"

	"github.com/kdev-io/kdev/internal/session"
)

// A glass is a terminal in memory, with a dashboard on it that runs as it does
// for a person: bytes of keys go in, what the renderer writes is the screen.
type glass struct {
	t       *testing.T
	source  *desktop
	leave   context.CancelFunc
	ended   chan struct{} // Run has returned
	err     error
	changed chan struct{}

	mu  sync.Mutex
	emu *vt.Emulator
}

// A desktop is a session that does nothing by itself.
type desktop struct {
	mu      sync.Mutex
	state   *session.State
	changed chan struct{}
}

func (d *desktop) State() *session.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

func (d *desktop) Subscribe() (<-chan struct{}, func()) { return d.changed, func() {} }

func (d *desktop) set(st *session.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = st
	signal(d.changed)
}

// switchOn starts a dashboard over a state and a store.
func switchOn(t *testing.T, st *session.State, d *desk, width, height int) *glass {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := &glass{t: t, leave: cancel, ended: make(chan struct{}), changed: make(chan struct{}, 1), emu: vt.NewEmulator(width, height),
		source: &desktop{state: st, changed: make(chan struct{}, 1)}}
	opts := Options{Store: d.store, Now: now, Control: &clerk{}, Host: hostOf(d)}
	terminal := Terminal{In: g.emu, Out: g, Env: []string{"TERM=xterm-256color"}}
	go func() {
		defer close(g.ended)
		_, g.err = Run(ctx, g.source, opts, terminal, tea.WithWindowSize(width, height))
	}()
	t.Cleanup(func() {
		cancel()
		<-g.ended
	})
	return g
}

// Write is the terminal's side of what the renderer writes. A newline begins a
// row, as the line discipline of a terminal has it.
func (g *glass) Write(p []byte) (int, error) {
	g.mu.Lock()
	_, err := g.emu.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	g.mu.Unlock()
	signal(g.changed)
	return len(p), err
}

// text is what is on the screen.
func (g *glass) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return trim(strings.TrimRight(strings.ReplaceAll(g.emu.String(), "\r", ""), "\n"))
}

// sequences are the bytes that terminals send for keys that are no characters.
var sequences = map[string]string{
	"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
	"pgup": "\x1b[5~", "pgdown": "\x1b[6~", "enter": "\r", "tab": "\t", "esc": "\x1b", "space": " ", "backspace": "\x7f",
}

// press types keys, as press does for a Model.
func (g *glass) press(names ...string) {
	g.t.Helper()
	for _, n := range names {
		text, typed := strings.CutPrefix(n, "type:")
		if rest, ok := strings.CutPrefix(n, "ctrl+"); ok {
			text = string(rest[0] & 0x1f)
		} else if s, ok := sequences[n]; ok {
			text = s
		} else if !typed {
			text = n
		}
		if _, err := io.WriteString(g.emu.InputPipe(), text); err != nil {
			g.t.Fatal(err)
		}
	}
}

// shows waits until the screen is a frame.
func (g *glass) shows(frame string) {
	g.t.Helper()
	want := trim(strings.TrimRight(trim(ansi.Strip(frame)), "\n"))
	limit := time.NewTimer(2 * time.Minute) // far more than a loaded machine takes
	defer limit.Stop()
	for g.text() != want {
		select {
		case <-g.changed:
		case <-g.ended:
			g.t.Fatalf("it ended: %v", g.err)
		case <-limit.C:
			g.t.Fatalf("the screen is\n%s\n--- want\n%s", g.text(), want)
		}
	}
}

// before is what has to be pressed so that a binding can be used.
var before = map[string][]string{
	"resume": {"G", "up", "up", "up"}, "trigger": {"G", "up", "up", "up"}, "run now": {"G"}, "cancel build": {"down", "down", "down"},
	"start": {"G", "up"}, "delete pod": {"enter", "down"}, "problem": {"down"},
	"only matches": {"/", "type:KeyError", "enter"}, "more context": {"/", "type:KeyError", "enter", "x"}, "less context": {"/", "type:KeyError", "enter", "x"},
	"next match": {"/", "type:KeyError", "enter"}, "previous match": {"/", "type:KeyError", "enter"},
}

// asleep is a day with a service that waits to be started by hand, and a generator.
func asleep() *session.State {
	st := day()
	st.Services[len(st.Services)-1].Phase = session.Stopped
	st.Services = append(st.Services, session.Service{Name: "proto", Kind: session.Process, Phase: session.Ready, Local: &session.LocalWork{Role: session.Generator, Command: "buf generate", Runs: 1}})
	return st
}

// TestEachKeyOnATerminal presses each key of the table on a terminal of its own,
// and compares the screen with the frame of a Model that was handed the same
// keys: the bytes arrive as the keys that the table names, and the renderer's
// differences add up to the frame.
func TestEachKeyOnATerminal(t *testing.T) {
	for _, b := range bindings() {
		for _, k := range b.keys {
			if slices.Contains([]string{"suspend", "quit", "shell"}, b.name) {
				continue // they give the terminal away, and want a real one: TestLeaving, and the run in tmux
			}
			t.Run(b.name+" "+k, func(t *testing.T) {
				t.Parallel()
				lead := before[b.name]
				if b.in == inLogs {
					lead = append([]string{"1"}, lead...)
				}
				d, other := newDesk(), newDesk() // each has marks of its own
				d.write()
				other.write()
				twin, _ := open(asleep(), other, 120, 40)
				g := switchOn(t, asleep(), d, 120, 40)
				g.shows(twin.Frame())
				for _, name := range lead {
					drive(twin, keys(name)...)
					g.press(name)
					g.shows(twin.Frame())
				}
				if got := twin.binding(press(k).String()); got == nil || got.name != b.name {
					t.Fatalf("%s does something else here, or nothing", k)
				}
				drive(twin, keys(k)...)
				g.press(k)
				g.shows(twin.Frame())
			})
		}
	}
}

func TestLeaving(t *testing.T) {
	for _, k := range []string{"q", "ctrl+c"} {
		d := newDesk()
		g := switchOn(t, day(), d, 80, 24)
		twin, _ := open(day(), d, 80, 24)
		g.shows(twin.Frame())
		g.press(k)
		<-g.ended
		if g.err != nil {
			t.Errorf("%s: %v", k, g.err)
		}
		if g.emu.IsAltScreen() {
			t.Errorf("%s left the terminal on the other screen", k)
		}
	}
}

// TestLinesAndStatesArrive: what pods write and what the session says is on the
// screen by itself.
func TestLinesAndStatesArrive(t *testing.T) {
	d := newDesk()
	g := switchOn(t, calm(), d, 120, 40)
	twin, _ := open(calm(), d, 120, 40)
	for i := range 100 {
		d.line("web-7d9f6b5c4-x2k9p", fmt.Sprint("line ", i))
	}
	drive(twin, movedMsg{})
	g.shows(twin.Frame())
	g.source.set(day())
	drive(twin, StateMsg{day()})
	g.shows(twin.Frame())
}
