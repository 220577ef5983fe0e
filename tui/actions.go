package tui

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
)

// Control is what the dashboard asks of a session.
type Control interface {
	Do(ctx context.Context, c session.Command) (string, error)
}

// Host does what needs the machine in front of which the person sits. A nil
// field is something that cannot be done here.
type Host struct {
	// Open shows a URL in a browser.
	Open func(url string) error
	// Shell runs a shell in a container; it gets the terminal. pod may be "".
	Shell func(service, pod string) tea.ExecCommand
	// Save writes lines to a new file and returns its name.
	Save func(text []byte) (string, error)
	// Mark writes a line into the store.
	Mark func(text string)
	// Environments are the names of the project's environments, and Look says how one
	// of them is, as text, read from its cluster.
	Environments []string
	Look         func(ctx context.Context, environment string) (string, error)
	// Branches finds the sessions of the project's other branches, and Join shows the
	// dashboard of one; it gets the terminal.
	Branches func(ctx context.Context) ([]Branch, error)
	Join     func(Branch) tea.ExecCommand
}

// doneMsg is the outcome of something that took time.
type doneMsg struct {
	text   string
	failed bool
}

// patience bounds how long the session may take to say that it has begun.
const patience = 10 * time.Second

// ask sends a command to the session. It does not touch the Model.
func (m *Model) ask(c session.Command) tea.Cmd {
	control := m.opts.Control
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		said, err := control.Do(ctx, c)
		if err != nil {
			return doneMsg{err.Error(), true}
		}
		return doneMsg{said, false}
	}
}

func outcome(text string, err error) tea.Msg {
	if err != nil {
		return doneMsg{err.Error(), true}
	}
	return doneMsg{text, false}
}

// acting is the keys that change something. They act on the selected service.
func acting() []binding {
	verb := func(v session.Verb) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { return m.ask(session.Command{Verb: v, Service: m.selected}) }
	}
	return []binding{
		{name: "restart", keys: []string{"r"}, in: inServices, help: "start its process anew", hint: 4, when: chosen, needs: noService, run: (*Model).askRestart},
		{name: "trigger", keys: []string{"t"}, in: inServices, help: "do now what is held for it", when: held, hint: 1, needs: "nothing that was saved waits", run: verb(session.DoTrigger)},
		{name: "run now", keys: []string{"t"}, in: inServices, help: "run the generator", when: generates, hint: 1, run: verb(session.DoTrigger)},
		{name: "sync now", keys: []string{"y"}, in: inServices, help: "compare its containers with the tree, and put right what differs", when: chosen, needs: noService, run: verb(session.DoSync)},
		{name: "build now", keys: []string{"b"}, in: inServices, help: "make its image anew", when: built, needs: "kdev does not make its image", run: verb(session.DoBuild)},
		{name: "deploy", in: palette, help: "render and apply the manifests anew", when: controlled, run: verb(session.DoDeploy)},
		{name: "remove", in: palette, help: "kdev down: remove what was deployed, and leave", when: controlled, run: (*Model).askDown},
		{name: "stop", in: palette, help: "end the session for all who look at it; everything stays in the cluster", when: controlled, run: verb(session.DoStop)},
		{name: "pause", keys: []string{"p"}, in: inServices, help: "hold what is saved for it", when: pausable, needs: noService, run: verb(session.DoPause)},
		{name: "resume", keys: []string{"p"}, in: inServices, help: "go on with what is saved for it", hint: 2, when: paused, run: verb(session.DoResume)},
		{name: "start", keys: []string{"t"}, in: inServices, help: "start what waits to be started by hand", when: stopped, hint: 1, run: verb(session.DoStart)},
		{name: "cancel build", keys: []string{"x"}, in: inServices, help: "end the build under way", when: building, hint: 2, needs: "no build of it is under way", run: verb(session.DoCancel)},
		{name: "scale", keys: []string{"S"}, in: inServices, help: "another number of replicas, by hand", when: scalable, needs: "it has no workload in the cluster", run: (*Model).askScale},
		{name: "roll back", keys: []string{"B"}, in: inServices, help: "run the image that was ready before the one that runs", when: built, needs: "kdev does not make its image", run: (*Model).askBack},
		{name: "forward", keys: []string{"f"}, in: inServices, help: "forward a port of it to this machine, until the session ends", when: forwardable, needs: "it runs on this machine", run: (*Model).askForward},
		{name: "environment", in: palette, help: "how another environment is, read from its cluster", when: func(m *Model) bool { return m.opts.Host.Look != nil }, run: (*Model).askEnvironment},
		{name: "branch", in: palette, help: "go to the session of another branch, until you leave it", when: func(m *Model) bool { return m.opts.Host.Branches != nil }, run: (*Model).askBranch},
		{name: "task", in: palette, help: "run a task of kdev.yaml in a container of its service", when: func(m *Model) bool { return controlled(m) && len(m.state.Tasks) > 0 }, run: do((*Model).openTasks)},
		{name: "delete pod", keys: []string{"D"}, in: inServices, help: "delete the selected pod; a new one takes its place", when: podChosen, needs: "select one of its pods first; Enter shows them", run: (*Model).askDelete},
		{name: "shell", keys: []string{"s"}, in: inServices, help: "a shell in its container", when: func(m *Model) bool { return m.opts.Host.Shell != nil && hasPod(m) }, needs: "it has no pod", run: (*Model).shell},
		{name: "open", keys: []string{"o"}, in: inServices, help: "its URL in the browser", when: func(m *Model) bool { return m.opts.Host.Open != nil && m.url() != "" }, needs: noURL, run: (*Model).openURL},
		{name: "copy URL", keys: []string{"c"}, in: inServices, help: "copy its URL", when: func(m *Model) bool { return m.url() != "" }, needs: noURL, run: func(m *Model) tea.Cmd { return m.copy("URL", m.url()) }},
	}
}

const (
	noService = "no service is selected"
	noURL     = "it has no URL"
)

func controlled(m *Model) bool { return m.opts.Control != nil }
func chosen(m *Model) bool     { return controlled(m) && m.service() != nil }
func hasPod(m *Model) bool     { return m.service() != nil && len(m.service().Pods) > 0 }
func podChosen(m *Model) bool  { return chosen(m) && m.pod != "" }
func built(m *Model) bool      { return chosen(m) && m.service().Kind == session.Built }
func scalable(m *Model) bool   { return chosen(m) && len(m.service().Workloads) > 0 }
func paused(m *Model) bool     { return chosen(m) && m.service().Paused }
func pausable(m *Model) bool   { return chosen(m) && !m.service().Paused }
func held(m *Model) bool       { return chosen(m) && len(m.service().Held) > 0 }
func stopped(m *Model) bool    { return chosen(m) && m.service().Phase == session.Stopped }
func forwardable(m *Model) bool {
	return chosen(m) && m.service().Kind != session.Process
}
func generates(m *Model) bool {
	return chosen(m) && m.service().Local != nil && m.service().Local.Role == session.Generator && m.service().Phase != session.Stopped && len(m.service().Held) == 0
}
func building(m *Model) bool {
	return chosen(m) && m.service().Build != nil && m.service().Build.Phase == session.BuildRunning
}

// askRestart asks only where new pods are the way: with an agent in its container the
// process alone starts anew, and so does one on this machine.
func (m *Model) askRestart() tea.Cmd {
	svc := m.service()
	cmd := m.ask(session.Command{Verb: session.DoRestart, Service: svc.Name})
	inPlace := func(st session.Sync) bool { return st.Connected }
	if len(svc.Pods) == 0 || svc.Local != nil || slices.ContainsFunc(svc.Sync, inPlace) {
		return cmd
	}
	m.overlay = &question{
		text: "Restart " + svc.Name + " with new pods?",
		loss: []string{"No agent runs in it that could start the process alone. What only its pods hold is lost: their files outside volumes, and their memory."},
		yes:  func(*Model) tea.Cmd { return cmd },
	}
	return nil
}

func (m *Model) askScale() tea.Cmd {
	name, now := m.selected, m.service().Desired
	count := func(text string) (int, error) { return strconv.Atoi(strings.TrimSpace(text)) }
	m.overlay = &prompt{label: "replicas of " + name,
		input: input{text: []rune(strconv.Itoa(now)), chosen: true, takes: func(r rune) bool { return r >= '0' && r <= '9' }},
		check: func(text string, _ bool) string {
			if n, err := count(text); err != nil || n < 0 || n > 1000 {
				return "a number from 0 to 1000"
			}
			return ""
		},
		accept: func(m *Model, text string) tea.Cmd {
			n, err := count(text)
			if err != nil {
				return nil // check did not let it through
			}
			if n == now {
				m.say(fmt.Sprintf("%s is wanted with %d replicas already", name, n), false)
				return nil
			}
			cmd := m.ask(session.Command{Verb: session.DoScale, Service: name, Replicas: n})
			if n > 0 {
				return cmd
			}
			m.overlay = &question{text: "Scale " + name + " to nothing?", loss: []string{"Nothing serves it until it is scaled up again."},
				yes: func(*Model) tea.Cmd { return cmd }}
			return nil
		}}
	return nil
}

// portForm is a port as kdev.yaml has it, in short.
var portForm = regexp.MustCompile(`^([0-9]{1,5}:)?[0-9]{1,5}$`)

func (m *Model) askForward() tea.Cmd {
	name, pod := m.selected, m.pod
	m.overlay = &prompt{label: "port of " + cmp.Or(pod, name) + ", or LOCAL:PORT",
		check: func(text string, _ bool) string {
			if text = strings.TrimSpace(text); text != "" && !portForm.MatchString(text) {
				return "80, or 8080:80"
			}
			return ""
		},
		accept: func(m *Model, text string) tea.Cmd {
			if text = strings.TrimSpace(text); text == "" {
				return nil
			}
			return m.ask(session.Command{Verb: session.DoForward, Service: name, Pod: pod, Port: text})
		}}
	return nil
}

func (m *Model) askBack() tea.Cmd {
	name := m.selected
	m.overlay = &question{
		text: "Roll " + name + " back?",
		loss: []string{"Its pods are replaced by ones of the image that was ready before, with what that holds. What is saved waits until it is resumed."},
		yes:  func(m *Model) tea.Cmd { return m.ask(session.Command{Verb: session.DoBack, Service: name}) },
	}
	return nil
}

// pageMsg is a page that took time to make.
type pageMsg struct {
	title string
	lines []string
}

func (m *Model) askEnvironment() tea.Cmd {
	names, look := m.opts.Host.Environments, m.opts.Host.Look
	label := "environment"
	if len(names) > 0 {
		label += " (" + strings.Join(names, ", ") + ")"
	}
	m.overlay = &prompt{label: label, accept: func(m *Model, text string) tea.Cmd {
		name := strings.TrimSpace(text)
		if name == "" {
			return nil
		}
		m.say("reading environment "+name+" from its cluster", false)
		return func() tea.Msg {
			ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
			defer cancel()
			said, err := look(ctx, name)
			if err != nil {
				return doneMsg{err.Error(), true}
			}
			var lines []string
			for line := range strings.Lines(said) {
				lines = append(lines, safe(strings.TrimSuffix(line, "\n")))
			}
			return pageMsg{"environment " + name + " · as it is now, nothing can be changed here", lines}
		}
	}}
	return nil
}

// lookPatience bounds how long a cluster may take to say how an environment is.
const lookPatience = 30 * time.Second

func (m *Model) askDown() tea.Cmd {
	what := "Remove " + m.state.Project + " from namespace " + m.state.Namespace
	if all := m.state.Namespaces(); len(all) > 1 {
		what += ", and what it includes from " + strings.Join(all[1:], ", ")
	}
	m.overlay = &question{
		text: what + "?",
		loss: []string{"Every object that kdev applied goes, and what is in its containers with it. Persistent volume claims stay."},
		yes:  func(m *Model) tea.Cmd { return m.ask(session.Command{Verb: session.DoDown}) },
	}
	return nil
}

func (m *Model) askDelete() tea.Cmd {
	name, pod := m.selected, m.pod
	m.overlay = &question{
		text: "Delete pod " + pod + "?",
		loss: []string{"Its controller makes another one. What only this pod holds is lost: files in its container that kdev did not put there, and its memory."},
		yes: func(m *Model) tea.Cmd {
			return m.ask(session.Command{Verb: session.DoDelete, Service: name, Pod: pod})
		},
	}
	return nil
}

func (m *Model) shell() tea.Cmd {
	return tea.Exec(m.opts.Host.Shell(m.selected, m.pod), func(err error) tea.Msg {
		if err != nil {
			return doneMsg{"shell: " + err.Error(), true}
		}
		return doneMsg{"the shell has ended", false}
	})
}

// url is where the selected service is found; empty when nowhere.
func (m *Model) url() string {
	svc := m.service()
	switch {
	case svc == nil:
	case len(svc.URLs) > 0:
		return svc.URLs[0]
	case len(svc.Ports) > 0:
		return svc.Ports[0].URL
	}
	return ""
}

func (m *Model) openURL() tea.Cmd {
	open, url := m.opts.Host.Open, m.url()
	return func() tea.Msg { return outcome("opened "+url, open(url)) }
}

// copy hands text to the terminal's clipboard (OSC 52). Terminals take some 75
// kB of it; more is told.
func (m *Model) copy(what, text string) tea.Cmd {
	const most = 74_994
	m.say(fmt.Sprintf("copied the %s: %d characters", what, len([]rune(text))), false)
	if len(text) > most {
		m.say(fmt.Sprintf("copied the %s: %d kB, which is more than some terminals take", what, len(text)>>10), true)
	}
	return tea.SetClipboard(text)
}
