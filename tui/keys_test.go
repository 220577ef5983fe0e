package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/tui/logview"
)

// TestKeyTable: names are unique, each binding can be reached and explained, and
// no key means two things at one place and time.
func TestKeyTable(t *testing.T) {
	names := map[string]bool{}
	seen := map[string][]string{}
	for _, b := range bindings() {
		if b.name == "" || b.help == "" || b.run == nil {
			t.Errorf("%+v lacks a name, a help or what it does", b)
		}
		if names[b.name] {
			t.Errorf("two bindings are called %q", b.name)
		}
		names[b.name] = true
		if len(b.keys) == 0 && b.in != palette {
			t.Errorf("%q has no key", b.name)
		}
		for _, k := range b.keys {
			place := fmt.Sprint(b.in, " ", k)
			seen[place] = append(seen[place], b.name)
		}
	}
	// One key for two things where only one of them is possible at a time.
	allowed := [][]string{{"pause", "resume"}, {"trigger", "run now", "start"}}
	for place, who := range seen {
		if len(who) > 1 && !slices.ContainsFunc(allowed, func(a []string) bool { return slices.Equal(a, who) }) {
			t.Errorf("%s means %v", place, who)
		}
	}
}

func TestFooterHasSixHintsAtMost(t *testing.T) {
	for _, scene := range scenes {
		m, _ := open(scene.state(), newDesk(), 200, 60)
		drive(m, keys(scene.keys...)...)
		if n := len(m.hints()); n == 0 || n > 6 {
			t.Errorf("%s: %d hints", scene.name, n)
		} else if last := m.hints()[n-1]; last.name != "quit" {
			t.Errorf("%s: the last hint is %s", scene.name, last.name)
		}
	}
}

// asked is what keys make the session be asked for.
func TestActions(t *testing.T) {
	tests := []struct {
		name string
		keys []string
		want []session.Command
	}{
		{"restart", []string{"r"}, []session.Command{{Verb: session.DoRestart, Service: "web"}}},
		{"restart with new pods asks", []string{"G", "up", "r"}, nil},
		{"and restarts", []string{"G", "up", "r", "y"}, []session.Command{{Verb: session.DoRestart, Service: "postgres"}}},
		{"sync now", []string{"y"}, []session.Command{{Verb: session.DoSync, Service: "web"}}},
		{"build", []string{"b"}, []session.Command{{Verb: session.DoBuild, Service: "web"}}},
		{"pause", []string{"p"}, []session.Command{{Verb: session.DoPause, Service: "web"}}},
		{"resume", []string{"G", "up", "up", "p"}, []session.Command{{Verb: session.DoResume, Service: "mail"}}},
		{"trigger", []string{"G", "up", "up", "t"}, []session.Command{{Verb: session.DoTrigger, Service: "mail"}}},
		{"cancel build", []string{"down", "down", "down", "x"}, []session.Command{{Verb: session.DoCancel, Service: "worker"}}},
		{"cancel without a build", []string{"x"}, nil},
		{"scale", []string{"S", "backspace", "type:5", "enter"}, []session.Command{{Verb: session.DoScale, Service: "web", Replicas: 5}}},
		{"scale takes digits alone", []string{"S", "type:x3", "enter"}, []session.Command{{Verb: session.DoScale, Service: "web", Replicas: 3}}},
		{"scale: the first digit takes the place of the number", []string{"S", "type:12", "enter"}, []session.Command{{Verb: session.DoScale, Service: "web", Replicas: 12}}},
		{"scale: after a move it is edited", []string{"S", "left", "right", "type:1", "enter"}, []session.Command{{Verb: session.DoScale, Service: "web", Replicas: 21}}},
		{"scale to what is no number", []string{"S", "backspace", "type:x", "enter"}, nil},
		{"scale to what it has", []string{"S", "enter"}, nil},
		{"scale to nothing asks", []string{"S", "backspace", "type:0", "enter"}, nil},
		{"and does it", []string{"S", "backspace", "type:0", "enter", "y"}, []session.Command{{Verb: session.DoScale, Service: "web", Replicas: 0}}},
		{"delete needs a pod", []string{"D"}, nil},
		{"delete asks", []string{"enter", "down", "D"}, nil},
		{"delete and no", []string{"enter", "down", "D", "n"}, nil},
		{"delete and Enter is no", []string{"enter", "down", "D", "enter"}, nil},
		{"delete and yes", []string{"enter", "down", "D", "y"}, []session.Command{{Verb: session.DoDelete, Service: "web", Pod: "web-7d9f6b5c4-x2k9p"}}},
		{"forward", []string{"f", "type:8081:80", "enter"}, []session.Command{{Verb: session.DoForward, Service: "web", Port: "8081:80"}}},
		{"forward of a pod", []string{"enter", "down", "f", "type:80", "enter"}, []session.Command{{Verb: session.DoForward, Service: "web", Pod: "web-7d9f6b5c4-x2k9p", Port: "80"}}},
		{"forward what is no port", []string{"f", "type:http", "enter"}, nil},
		{"roll back asks", []string{"B"}, nil},
		{"roll back and yes", []string{"B", "y"}, []session.Command{{Verb: session.DoBack, Service: "web"}}},
		{"roll back by name", []string{":", "type:roll back", "enter", "y"}, []session.Command{{Verb: session.DoBack, Service: "web"}}},
		{"by name", []string{":", "type:deploy", "enter"}, []session.Command{{Verb: session.DoDeploy, Service: "web"}}},
		{"by name, and left", []string{":", "type:deploy", "esc"}, nil},
		{"not from the lines", []string{"tab", "r"}, nil},
		{"from the rollout", []string{"3", "r"}, []session.Command{{Verb: session.DoRestart, Service: "web"}}},
		{"from the sync tab", []string{"4", "p"}, []session.Command{{Verb: session.DoPause, Service: "web"}}},
		{"from the problem tab", []string{"down", "down", "down", "5", "x"}, []session.Command{{Verb: session.DoCancel, Service: "worker"}}},
		{"a pod from the diff", []string{"enter", "down", "6", "D", "y"}, []session.Command{{Verb: session.DoDelete, Service: "web", Pod: "web-7d9f6b5c4-x2k9p"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, c := open(day(), newDesk(), 120, 40)
			drive(m, keys(tt.keys...)...)
			if !slices.Equal(c.asked, tt.want) {
				t.Errorf("asked for %v, want %v", c.asked, tt.want)
			}
		})
	}
}

// TestDeadKeysSayWhy: a key that can do nothing here says what it lacks, or where it works.
func TestDeadKeysSayWhy(t *testing.T) {
	for _, tt := range []struct {
		lead []string
		key  string
		want string
	}{
		{nil, "e", "next error: works in the logs and build tabs: 1 or 2"},
		{nil, "n", "next match: works in the logs and build tabs: 1 or 2"},
		{nil, "m", "mark: works in the logs and build tabs: 1 or 2"},
		{nil, "w", "wrap: works in the logs and build tabs: 1 or 2"},
		{nil, "P", "one pod: works in the logs and build tabs: 1 or 2"},
		{nil, "z", "z does nothing; ? shows the keys"},
		{nil, "x", "cancel build: no build of it is under way"},
		{[]string{"1"}, "S", "scale: works in the list of services: Tab"},
		{[]string{"1"}, "x", "only matches: search for something first: /"},
		{[]string{"3"}, "w", "wrap: works in the logs and build tabs: 1 or 2"},
		{[]string{"5"}, "e", "next error: works in the logs and build tabs: 1 or 2"},
		{[]string{"4"}, "D", "delete pod: select one of its pods first; Enter shows them"},
		{[]string{"6"}, "t", "trigger: nothing that was saved waits"},
	} {
		m, c := open(day(), newDesk(), 120, 40)
		drive(m, keys(tt.lead...)...)
		drive(m, keys(tt.key)...)
		if m.said != tt.want || !m.badly || len(c.asked) > 0 {
			t.Errorf("%v %s says %q and asks for %v, want %q", tt.lead, tt.key, m.said, c.asked, tt.want)
		}
	}
	// No key of the table is silent in any pane.
	for _, lead := range []string{"esc", "1", "2", "3", "4", "5", "6"} {
		for _, b := range bindings() {
			for _, k := range b.keys {
				m, _ := open(day(), newDesk(), 120, 40)
				drive(m, keys(lead)...)
				if m.binding(press(k).String()) == nil && m.lacks(press(k).String()) == "" {
					t.Errorf("after %s, %s is silent", lead, k)
				}
			}
		}
	}
}

// TestOutcomeGoes: after some seconds the hints are back, and nothing ticks any more.
func TestOutcomeGoes(t *testing.T) {
	clock := began
	d := newDesk()
	c := &clerk{}
	m := New(Options{State: calm(), Store: d.store, Now: func() time.Time { return clock }, Control: c, Host: hostOf(d)})
	_, cmd := m.Update(doneMsg{"it has begun", false})
	if !strings.Contains(m.Frame(), "it has begun") || cmd == nil || !m.fading {
		t.Fatal("the outcome is not shown, or nothing will take it away")
	}
	clock = clock.Add(2 * time.Second)
	m.Update(doneMsg{"the second one", true})
	clock = clock.Add(stay)
	if _, cmd = m.Update(fadeMsg{}); !strings.Contains(m.Frame(), "the second one") || cmd == nil {
		t.Error("what failed goes too early, or never")
	}
	clock = clock.Add(stayBadly)
	if _, cmd = m.Update(fadeMsg{}); strings.Contains(m.Frame(), "the second one") || !strings.Contains(ansi.Strip(m.Frame()), "q quit") || cmd != nil || m.fading {
		t.Errorf("the outcome stays (%q), or something ticks (%v):\n%s", m.said, m.fading, m.Frame())
	}
}

// TestNothingUnready: where the filter leaves nothing, the list says so.
func TestNothingUnready(t *testing.T) {
	m, _ := open(calm(), newDesk(), 80, 24)
	drive(m, keys("u")...)
	if !strings.Contains(m.Frame(), "everything is ready: u lists all services again") {
		t.Errorf("nothing is said:\n%s", m.Frame())
	}
	drive(m, keys("u")...)
	if !strings.Contains(m.Frame(), "postgres") {
		t.Error("u does not list them again")
	}
	drive(m, keys("/", "type:qqq")...)
	if !strings.Contains(m.Frame(), "has qqq in its name") {
		t.Error("nothing is said of a name that no service has")
	}
}

// TestPaletteHasRoom: where there is room, no description is cut.
func TestPaletteHasRoom(t *testing.T) {
	m, _ := open(day(), newDesk(), 200, 60)
	drive(m, keys(":")...)
	if frame := m.Frame(); strings.Contains(frame, "…  ") || !strings.Contains(frame, "compare its containers with the tree, and put right what differs") {
		t.Errorf("descriptions are cut:\n%s", frame)
	}
}

// TestTabsTellOfAFailure: where there is no room for the tabs, their numbers and the mark of
// a failure stay.
func TestTabsTellOfAFailure(t *testing.T) {
	for _, width := range []int{60, 80} {
		m, _ := open(day(), newDesk(), width, 24)
		drive(m, keys("down", "1", "/", "type:KeyError", "enter", "x")...)
		if !strings.Contains(ansi.Strip(m.Frame()), "[1 logs] 2 3 4 5 problem! 6 ") {
			t.Errorf("%d columns: the mark is gone:\n%s", width, ansi.Strip(m.Frame()))
		}
	}
}

// TestNothingIsCut: in the tabs without lines every word is there, on a narrow screen too.
func TestNothingIsCut(t *testing.T) {
	long := strings.Repeat("word ", 40) + "end."
	st := day()
	svc := &st.Services[3]
	svc.Waiting.Text = long
	svc.Sync = []session.Sync{{Pod: "cart-1", Container: "app", Problem: &problem.Problem{Code: "x", Summary: long}, Paths: []string{strings.Repeat("deep/", 40) + "end.go"}}}
	for key, want := range map[string]string{"3": "end.", "4": "end.go", "5": "end."} {
		m, _ := open(st, newDesk(), 80, 60)
		drive(m, keys("down", "down", "down", "down", "down", "enter", key, "+", "+")...)
		drive(m, StateMsg{st})
		m.selected, m.pod = "cart", ""
		drive(m, StateMsg{st})
		if frame := ansi.Strip(m.Frame()); !strings.Contains(frame, want) {
			t.Errorf("tab %s cuts:\n%s", key, frame)
		}
	}
	for _, row := range wrapRow("    │ "+long, 60) {
		if !strings.HasPrefix(row, "    │ ") {
			t.Errorf("%q has lost its bar", row)
		}
	}
}

// TestBuildTab: however many steps a build has, the newest are there, those left out are
// counted, and so is the output below.
func TestBuildTab(t *testing.T) {
	st := day()
	b := st.Services[2].Build
	b.Earlier, b.Steps = 7, nil
	for i := range 100 {
		b.Steps = append(b.Steps, session.Step{Name: fmt.Sprintf("COPY file-%d .", i), Took: ms(1000 + i)})
	}
	d := newDesk()
	d.write()
	for _, height := range []int{12, 24, 60} {
		m, _ := open(st, d, 100, height)
		drive(m, keys("down", "down", "down", "2", "+", "+")...)
		frame := ansi.Strip(m.Frame())
		fits(t, m.Frame(), 100, height)
		shown := strings.Count(frame, "COPY file-")
		for _, want := range []string{"build   #2 ◐ running, 4.2 s", "▸ RUN npm ci", fmt.Sprintf("… %d steps before these", 107-shown), "npm warn deprecated"} {
			if !strings.Contains(frame, want) && (height > 12 || !strings.Contains(want, "warn")) {
				t.Errorf("%d rows: no %q:\n%s", height, want, frame)
			}
		}
	}
	b.Phase, b.Took, b.Step = session.BuildFailed, ms(4100), ""
	m, _ := open(st, d, 100, 24)
	drive(m, keys("down", "down", "down", "2")...)
	if frame := ansi.Strip(m.Frame()); !strings.Contains(frame, "#2 ✗ failed, 4.1 s, 5 says why") || strings.Contains(frame, "under way") {
		t.Errorf("a failed build:\n%s", frame)
	}
}

// TestProblemIsToldOnce: the explanation does not say again what the problem says.
func TestProblemIsToldOnce(t *testing.T) {
	m, _ := open(day(), newDesk(), 120, 60)
	drive(m, keys("down", "5", "+", "+")...)
	frame := ansi.Strip(m.Frame())
	for _, once := range []string{"KeyError: 'PORT'", "exits with 1, for the 3rd time", "set PORT in deploy/api.yaml", "0/1 ready, failing for 1m01s", "code crash, docs/errors/deploy.md"} {
		if n := strings.Count(frame, once); n != 1 {
			t.Errorf("%q is there %d times:\n%s", once, n, frame)
		}
	}
}

// TestLocalActions: what can be asked of work on this machine.
func TestLocalActions(t *testing.T) {
	for _, tt := range []struct {
		name string
		keys []string
		want []session.Command
	}{
		{"a generator runs now", []string{"G", "t"}, []session.Command{{Verb: session.DoTrigger, Service: "proto"}}},
		{"by name", []string{"G", ":", "type:run now", "enter"}, []session.Command{{Verb: session.DoTrigger, Service: "proto"}}},
		{"a server is started anew", []string{"G", "up", "r"}, []session.Command{{Verb: session.DoRestart, Service: "storybook"}}},
		{"a server does not run now", []string{"G", "up", "t"}, nil},
		{"nothing of it is forwarded", []string{"G", "f"}, nil},
		{"what stands in is started anew", []string{"r"}, []session.Command{{Verb: session.DoRestart, Service: "api"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, c := open(workshop(), newDesk(), 120, 40)
			drive(m, keys(tt.keys...)...)
			if !slices.Equal(c.asked, tt.want) {
				t.Errorf("asked for %v, want %v", c.asked, tt.want)
			}
		})
	}
}

func TestWithoutControlNothingIsOffered(t *testing.T) {
	d := newDesk()
	m := New(Options{State: day(), Store: d.store, Now: now})
	m.ticking, m.fading = true, true
	drive(m, keys(":")...)
	for _, b := range m.overlay.(*chooser).found(m) {
		if slices.Contains([]string{"restart", "scale", "delete pod", "shell", "open", "save lines", "forward", "roll back", "environment", "branch"}, b.name) {
			t.Errorf("offers %q, which nobody can do", b.name)
		}
	}
}

// TestReadingKeys: each key of the log pane does what its help says.
func TestReadingKeys(t *testing.T) {
	tests := []struct {
		keys []string
		ok   func(*Model) bool
	}{
		{[]string{"w"}, func(m *Model) bool { return m.wrap }},
		{[]string{"p"}, func(m *Model) bool { return m.pretty }},
		{[]string{"t"}, func(m *Model) bool { return m.stamps == logview.ClockStamps }},
		{[]string{"t", "t", "t"}, func(m *Model) bool { return m.stamps == logview.NoStamps }},
		{[]string{"l", "l"}, func(m *Model) bool { return m.level == level.Warn }},
		{[]string{"a"}, func(m *Model) bool { return !m.all }},
		{[]string{"P"}, func(m *Model) bool { return m.solo == "web-7d9f6b5c4-x2k9p" }},
		{[]string{"P", "P"}, func(m *Model) bool { return m.solo == "web-7d9f6b5c4-m8w2q" }},
		{[]string{"P", "P", "P"}, func(m *Model) bool { return m.solo == "" }},
		{[]string{"pgup"}, func(m *Model) bool { return !m.logs.Following() }},
		{[]string{"pgup", "f"}, func(m *Model) bool { return m.logs.Following() }},
		{[]string{"g"}, func(m *Model) bool { return strings.Contains(m.Frame(), "9 objects applied") }},
		{[]string{"g", "G"}, func(m *Model) bool { return m.logs.Following() }},
		{[]string{"/", "type:KeyErrorx", "backspace", "enter"}, func(m *Model) bool { return m.search == "KeyError" && m.logs.Cursor() != 0 }},
		{[]string{"/", "type:KeyError", "esc"}, func(m *Model) bool { return m.search == "" && m.pattern == nil }},
		{[]string{"/", "ctrl+r", "type:Key.r+or", "enter"}, func(m *Model) bool { return m.worker.hits.List().Len() == 3 }},
		{[]string{"/", "type:KeyError", "enter", "x", ">"}, func(m *Model) bool { return m.only && m.context == 3 }},
		{[]string{"/", "type:KeyError", "enter", "x", "x"}, func(m *Model) bool { return !m.only }},
		{[]string{"/", "type:KeyError", "enter", "x", "<", "<", "<"}, func(m *Model) bool { return m.worker.shown.List().Len() == 3 }},
		{[]string{"/", "type:KeyError", "enter", "esc"}, func(m *Model) bool { return m.pattern == nil && m.logs.Cursor() == 0 }},
		{[]string{"x"}, func(m *Model) bool { return !m.only }},
		{[]string{"m"}, func(m *Model) bool {
			return strings.Contains(m.Frame(), "──────── 09:31:30 ────────")
		}},
		{[]string{"W"}, func(m *Model) bool { return strings.Contains(m.said, "kdev-shop.log") }},
		{[]string{"y"}, func(m *Model) bool { return strings.HasPrefix(m.said, "copied the line") }},
		{[]string{"J"}, func(m *Model) bool { return strings.HasPrefix(m.said, "copied the line as JSON") }},
		{[]string{"]"}, func(m *Model) bool { return m.tab == buildTab }},
		{[]string{"["}, func(m *Model) bool { return m.tab == diffTab }},
		{[]string{"+", "+", "+", "-"}, func(m *Model) bool { return m.size == half }},
		{[]string{"T"}, func(m *Model) bool { return m.theme.Name == "light" }},
		{[]string{"M"}, func(m *Model) bool { return m.View().MouseMode == tea.MouseModeCellMotion }},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.keys, " "), func(t *testing.T) {
			d := newDesk()
			d.write()
			m, _ := open(day(), d, 120, 40)
			drive(m, keys("1")...)
			drive(m, keys(tt.keys...)...)
			if !tt.ok(m) {
				t.Errorf("it does not:\n%s", m.Frame())
			}
		})
	}
}

// TestCopies looks at what reaches the clipboard: the raw message, however it is
// shown.
func TestCopies(t *testing.T) {
	d := newDesk()
	d.line("web-7d9f6b5c4-x2k9p", "\x1b[31ma long \x1b[0mline\twith all of its text "+strings.Repeat("x", 300))
	m, _ := open(day(), d, 80, 24)
	for _, tt := range []struct {
		key   string
		wants []string
	}{
		{"y", []string{"\x1b[31ma long \x1b[0mline\twith all of its text xxx"}},
		{"Y", []string{"web-7d9f6b5c4-x2k9p app 2026-01-02T09:30:00.137Z ", "a long"}},
		{"J", []string{`"service":"web"`, `"pod":"web-7d9f6b5c4-x2k9p"`, `"message":"\u001b[31ma long`}},
	} {
		drive(m, keys("1")...)
		_, cmd := m.Update(press(tt.key))
		got := fmt.Sprint(cmd())
		if batch, ok := cmd().(tea.BatchMsg); ok {
			got = ""
			for _, c := range batch {
				if c != nil {
					got += fmt.Sprint(c())
				}
			}
		}
		for _, want := range tt.wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s copies %q, want %q in it", tt.key, got, want)
			}
		}
	}
}

func TestSelectionStaysOnWhatItWas(t *testing.T) {
	d := newDesk()
	m, _ := open(day(), d, 120, 40)
	drive(m, keys("down", "down", "down")...) // worker
	st := day()
	st.Services = append([]session.Service{{Name: "aaa", Phase: session.Ready}}, st.Services...)
	drive(m, StateMsg{st})
	if m.selected != "worker" {
		t.Errorf("%s is selected, want worker", m.selected)
	}
	st = day()
	st.Services = st.Services[:1]
	drive(m, StateMsg{st})
	if m.selected != "web" {
		t.Errorf("%s is selected, want the first one", m.selected)
	}
	drive(m, StateMsg{&session.State{}})
	m.Frame()
}

func TestMouse(t *testing.T) {
	d := newDesk()
	d.write()
	m, _ := open(day(), d, 120, 40)
	drive(m, tea.MouseClickMsg{X: 5, Y: 4, Button: tea.MouseLeft})
	if m.selected != "api" || m.focus != servicesPane {
		t.Errorf("%s is selected, want api", m.selected)
	}
	drive(m, tea.MouseWheelMsg{X: 5, Y: 30, Button: tea.MouseWheelUp})
	if m.logs.Following() {
		t.Error("the wheel did not scroll the lines")
	}
	drive(m, tea.MouseClickMsg{X: 5, Y: 30, Button: tea.MouseLeft})
	if m.focus != detailPane || m.logs.Cursor() == 0 {
		t.Error("a click on a line does not choose it")
	}
}

func TestAnnouncements(t *testing.T) {
	good, bad, mistaken := calm(), day(), calm()
	mistaken.Problems = []*problem.Problem{{Where: "kdev.yaml:3", Summary: "unknown key servces"}}
	for _, tt := range []struct {
		before, now *session.State
		want        string
	}{
		{good, good, ""},
		{starting(), bad, "api failed"},
		{bad, bad, ""},
		{bad, good, "everything is ready again"},
		{broken(), good, "everything is ready again"},
		{starting(), good, ""},
		{good, mistaken, "kdev.yaml:3: unknown key servces"},
		{mistaken, mistaken, ""},
		{mistaken, good, "everything is ready again"},
	} {
		if got := news(tt.before, tt.now, anyFailed(tt.before)); got != tt.want {
			t.Errorf("news are %q, want %q", got, tt.want)
		}
	}
	// What heals is built and deployed before it is ready.
	m := New(Options{State: starting(), Store: newDesk().store})
	for i, st := range []*session.State{bad, starting(), good} {
		before := m.state
		m.state = st
		if said, want := m.announce(before) != nil, i != 1; said != want {
			t.Errorf("state %d is announced: %v, want %v", i, said, want)
		}
	}
	if m.failing {
		t.Error("it fails still")
	}
}

func TestMemory(t *testing.T) {
	d := newDesk()
	m, _ := open(day(), d, 120, 40)
	drive(m, keys("T", "T", "1", "w", "t", "a", "+", "M", "tab", "down")...)
	again := New(Options{State: day(), Store: d.store, Now: now, Memory: m.Memory()})
	if again.Memory() != m.Memory() || again.Memory().Theme != "red-green" || again.Memory().Selected != "api" {
		t.Errorf("remembers %+v, want %+v", again.Memory(), m.Memory())
	}
	odd := New(Options{State: day(), Store: d.store, Now: now, Memory: Memory{Theme: "pink", Size: "huge", Stamps: 99, Selected: "gone"}})
	odd.Frame()
	if odd.selected != "web" || odd.theme.Name != "dark" {
		t.Errorf("starts with %+v", odd.Memory())
	}
}
