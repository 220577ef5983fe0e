package mirror

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/protocol"
)

// matches says whether a change of a file is one that the hook is for.
func (h *Hook) matches(container, local string) bool {
	if h.Match != nil {
		return h.Match(container, local)
	}
	if len(h.Paths) == 0 {
		return true
	}
	patterns := make([]string, 0, len(h.Paths))
	for _, p := range h.Paths {
		p, not := strings.CutPrefix(p, "!")
		p = "**/" + strings.Trim(strings.TrimPrefix(p, "./"), "/")
		if not {
			p = "!" + p
		}
		patterns = append(patterns, p)
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		return false
	}
	hit, err := m.MatchesOrParentMatches(strings.TrimPrefix(container, "/"))
	return hit && err == nil
}

// triggeredBy is what hooks ask for that name one of these local files, which have
// no place in a container.
func triggeredBy(hooks []Hook, locals []string) (all actions) {
	for i := range hooks {
		if len(hooks[i].Paths) > 0 && slices.ContainsFunc(locals, func(local string) bool { return hooks[i].matches("", local) }) {
			all.add(&hooks[i])
		}
	}
	return all
}

// actions are what follows a batch.
type actions struct {
	commands  [][]string
	restart   bool
	container bool // the restart is one of the container
	signal    uint64
	hold      bool
}

func (a *actions) empty() bool { return len(a.commands) == 0 && !a.restart && a.signal == 0 }

// impossible is what nobody can do where no agent runs the application; a restart
// may be possible all the same.
func (a *actions) impossible(restarts bool) actions {
	return actions{commands: a.commands, restart: a.restart && !restarts, signal: a.signal}
}

func (a *actions) add(h *Hook) {
	one := actions{restart: h.Restart, container: h.Restart && h.Container, signal: SignalNumber(h.Signal)}
	if len(h.Run) > 0 {
		one.commands = [][]string{h.Run}
	}
	a.join(one)
}

// join adds what b asks for; a command that is there already runs once.
func (a *actions) join(b actions) {
	for _, run := range b.commands {
		if !slices.ContainsFunc(a.commands, func(c []string) bool { return slices.Equal(c, run) }) {
			a.commands = append(slices.Clone(a.commands), run)
		}
	}
	a.restart, a.container = a.restart || b.restart, a.container || b.container
	if b.signal != 0 {
		a.signal = b.signal
	}
}

func (a *actions) end() *protocol.End {
	return &protocol.End{Commands: a.commands, Restart: a.restart, Container: a.container, Hold: a.hold, Signal: a.signal}
}

// SignalNumber is Linux's number of a signal, 0 for none. The containers run
// Linux whatever this machine runs.
func SignalNumber(name string) uint64 {
	return linuxSignals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]
}

var linuxSignals = map[string]uint64{
	"HUP": 1, "INT": 2, "QUIT": 3, "TRAP": 5, "ABRT": 6, "KILL": 9, "USR1": 10, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
	"CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "PWR": 30,
}

// noticed tells what happened to the application or to a command.
func (w *worker) noticed(n *protocol.Notice) {
	w.phase(n.Process)
	e := Event{Generation: n.Generation}
	switch n.What {
	case protocol.NoticeStarted:
		e.Kind = Started
	case protocol.NoticeHeld:
		e.Kind, e.Problem = Held, heldProblem(w.describe(), n)
	case protocol.NoticeCommand:
		e.Kind = Hooked
		for _, arg := range n.Command {
			e.Command = append(e.Command, plain(arg))
		}
		e.Took = duration(n.Took)
		if n.Code != 0 {
			e.Problem = commandProblem(w.describe(), n)
			w.owe(n.Command)
		}
	case protocol.NoticeRepair:
		w.m.mu.Lock()
		w.repair = true
		w.m.mu.Unlock()
		w.poke()
		return
	case protocol.NoticeSignal:
		if n.Text == "" {
			return
		}
		e.Kind, e.Problem = Hooked, &problem.Problem{Code: "sync-signal", Summary: "the application could not be signalled: " + plain(n.Text), Where: where(w.describe())}
	default:
		return // the container ends: its logs and its state say why
	}
	w.event(e)
}

// owe remembers a failed command, which is run again with the next change, where it is one
// of the rules: a container can say that any has failed.
func (w *worker) owe(command []string) {
	for _, h := range w.hooksNow() {
		if slices.Equal(h.Run, command) {
			w.owed.add(&h) // with what would have followed it
		}
	}
}

// forgetProcess drops what was to be done to a process that is no more. again says
// that there was one: what waited while nobody was connected was meant for it too.
func (w *worker) forgetProcess(again bool) {
	w.owed.restart, w.owed.container, w.owed.signal = false, false, 0
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if again {
		w.triggered.restart, w.triggered.container, w.triggered.signal = false, false, 0
	}
}

// begun notes that the container has a fresh root: its processes are others, and
// what commands once did there is gone. Those that belong to files of its own run
// again with the files; those that belong to others are owed.
func (w *worker) begun(again bool) {
	w.forgetProcess(again)
	behind := triggeredBy(w.hooksNow(), w.describe().Behind)
	w.owed.join(actions{commands: behind.commands})
}

// resolve decides what to do about a batch whose answer was lost. Files of it may be there,
// and so not sent again, while what was to follow them was not done because others failed.
func (w *worker) resolve(last *protocol.Last, fresh bool) {
	switch {
	case w.unanswered.empty():
	case fresh: // its process and what commands did are gone
		w.restarted.count(w.restartFor)
	case last.Generation == w.unansweredOf && last.Generation != 0 && last.Generation != w.answered && last.Failed == "":
		w.owed = actions{} // the agent has done it all
	default:
		w.owed.join(w.unanswered)
	}
	w.unanswered, w.restartFor = actions{}, nil
}

func (w *worker) hooksNow() []Hook {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return slices.Clone(w.s.hooks)
}

func (w *worker) phase(p protocol.Process) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.status.Phase = phaseWord(p)
}

func phaseWord(p protocol.Process) string {
	return [...]string{"", "waiting", "running", "held", "aside"}[min(int(p.Phase), 4)]
}

func where(c Container) string { return path.Join(c.Pod, c.Name) }
