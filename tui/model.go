package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
	"github.com/kdev-io/kdev/tui/logview"
	"github.com/kdev-io/kdev/tui/theme"
)

// Options are what the dashboard shows and what it may do.
type Options struct {
	State   *session.State
	Store   *store.Store
	Names   *Names
	Control Control // nil: a view without actions
	Host    Host
	Memory  Memory
	Plain   bool // begin without colours, whatever Memory says
	Now     func() time.Time
	// Around, if not nil, is what Run hands the messages to instead of the Model:
	// something that measures it.
	Around func(tea.Model) tea.Model
}

// StateMsg is a new snapshot.
type StateMsg struct{ State *session.State }

// movedMsg says that the lines that are shown, or may be, are no longer those of
// the last frame. It holds none of them.
type movedMsg struct{}

// tickMsg lets running times move.
type tickMsg struct{}

// fadeMsg lets the outcome of an action go.
type fadeMsg struct{}

// How long an outcome stands in the place of the hints.
const (
	stay      = 5 * time.Second
	stayBadly = 12 * time.Second // what failed is longer, and to be read
)

// tick is how often running times are drawn anew.
const tick = 250 * time.Millisecond

// A pane takes keys when it has the focus.
type pane int

const (
	servicesPane pane = iota
	detailPane
)

// A tab is one side of the detail pane.
type tab int

const (
	logsTab tab = iota
	buildTab
	rolloutTab
	syncTab
	problemTab
	diffTab
	tabCount
)

var tabNames = [tabCount]string{"logs", "build", "rollout", "sync", "problem", "diff"}

// Model is the dashboard: hand it messages, draw its View.
type Model struct {
	opts    Options
	state   *session.State
	theme   theme.Theme
	table   []binding
	worker  *worker
	width   int
	height  int
	now     time.Time
	ticking bool

	focus pane
	tab   tab
	size  size

	// The services pane.
	selected  string // name of the service that keys act on
	pod       string // of it; empty is the service itself
	firstRow  int    // first row on the screen
	folded    map[string]bool
	words     string // filter by name
	unready   bool   // only what is not ready
	rowsShown []row  // what is on the screen, for the mouse

	// The log pane.
	logs    *logview.View
	all     bool // lines of every service, not of the selected one alone
	solo    string
	level   level.Level
	search  string
	regexp  bool
	pattern *filter.Pattern
	only    bool // lines that match, with context
	context int
	wrap    bool
	pretty  bool
	stamps  logview.Stamps
	look    string // of the log pane, in one text
	version int    // of it
	shown   Query

	// The other tabs.
	head   []string // of the build tab, above the output
	scroll int
	diff   diffView

	overlay overlay // takes all keys while it is there
	said    string  // the outcome of the last action, until the next key, or for a while
	badly   bool    // that outcome is a failure
	saidAt  time.Time
	fading  bool // a fadeMsg is to come
	mouse   bool
	quiet   bool // no bell, no notification
	failing bool // something has failed since all was ready
	leaving bool
}

// New makes a dashboard that shows opts.State until a newer one comes.
func New(opts Options) *Model {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Names == nil {
		opts.Names = NewNames(func() *session.State { return opts.State })
	}
	w := newWorker(opts.Store)
	m := &Model{
		opts: opts, state: opts.State, worker: w,
		width: 80, height: 24, now: opts.Now(), folded: map[string]bool{},
		logs: logview.NewView(opts.Store, w.levels), context: 2,
	}
	m.recall(opts.Memory)
	if opts.Plain {
		m.theme, _ = theme.ByName("none")
	}
	m.arrange()
	return m
}

// Left says whether the person asked to leave.
func (m *Model) Left() bool { return m.leaving }

// Init starts the clock where one is to be seen.
func (m *Model) Init() tea.Cmd { return m.clock() }

// clock starts a tick when something is under way and none is.
func (m *Model) clock() tea.Cmd {
	if m.ticking || !underWay(m.state) {
		return nil
	}
	m.ticking = true
	return tea.Tick(tick, func(time.Time) tea.Msg { return tickMsg{} })
}

// Update takes one message.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.now = m.opts.Now()
	cmd := m.take(msg)
	m.arrange()
	return m, tea.Batch(cmd, m.clock(), m.fade())
}

// resized paints the screen anew, in all of its rows. Between a resize and kdev's notice of
// it a line that scrolled may have set the scrolling region (DECSTBM) of the size before:
// a larger screen is then painted into the rows of the smaller one.
func resized() tea.Msg { return tea.Sequence(tea.Raw(wholeScreen), tea.ClearScreen)() }

// wholeScreen lets all rows scroll.
const wholeScreen = "\x1b[r"

// fade waits until the outcome that is shown has been there for long enough.
func (m *Model) fade() tea.Cmd {
	if m.fading || m.said == "" {
		return nil
	}
	m.fading = true
	return tea.Tick(max(0, m.left()), func(time.Time) tea.Msg { return fadeMsg{} })
}

// left is how long the outcome stays.
func (m *Model) left() time.Duration {
	long := stay
	if m.badly {
		long = stayBadly
	}
	return long - m.now.Sub(m.saidAt)
}

func (m *Model) take(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(1, msg.Width), max(1, msg.Height)
		return resized
	case StateMsg:
		before := m.state
		m.state = msg.State
		return m.announce(before)
	case movedMsg:
		m.worker.taken()
	case tickMsg:
		m.ticking = false
	case doneMsg:
		m.say(msg.text, msg.failed)
	case fadeMsg:
		m.fading = false
		if m.left() <= 0 {
			m.said = ""
		}
	case pageMsg:
		m.said, m.overlay = "", &page{title: msg.title, lines: msg.lines}
	case branchesMsg:
		m.openBranches(msg.all)
	case diffMsg:
		m.diff.take(msg)
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		if m.overlay != nil {
			return m.overlay.paste(m, msg.Content)
		}
	case tea.MouseClickMsg:
		return m.click(msg.X, msg.Y)
	case tea.MouseWheelMsg:
		m.wheel(msg.Y, msg.Button)
	}
	return nil
}

// key hands a key to what takes it: an overlay, else a binding of the pane that
// has the focus, else one of all panes.
func (m *Model) key(msg tea.KeyPressMsg) tea.Cmd {
	m.said = ""
	if m.overlay != nil {
		return m.overlay.key(m, msg)
	}
	if b := m.binding(msg.String()); b != nil {
		return b.run(m)
	}
	m.say(m.lacks(msg.String()), true)
	return nil
}

// arrange settles what follows from the rest after each message: the selection
// is on something that is there, the panes have their sizes, the index shows
// what the log pane asks for.
func (m *Model) arrange() {
	m.now = m.opts.Now()
	m.settleSelection()
	l := m.layout()
	m.settleRows(l.services)
	m.arrangeLogs(l)
}

// service is the selected one; nil when there is none.
func (m *Model) service() *session.Service {
	for i := range m.state.Services {
		if m.state.Services[i].Name == m.selected {
			return &m.state.Services[i]
		}
	}
	return nil
}

// underWay says whether a running time is on the screen.
func underWay(st *session.State) bool {
	for i := range st.Services {
		switch st.Services[i].Phase {
		case session.Building, session.Deploying, session.Progressing, session.Syncing:
			return true
		}
	}
	return false
}
