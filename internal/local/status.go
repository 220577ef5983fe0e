package local

import (
	"slices"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/process"
)

// A Phase is the one word that says how local work is.
type Phase string

const (
	Idle    Phase = "idle"    // nobody has asked for it, or it was halted
	Running Phase = "running" // a generator runs; a server starts and is not ready yet
	Ready   Phase = "ready"   // a generator's last run succeeded; a server is ready
	Failed  Phase = "failed"  // a generator's last run failed; a server ended, or could not be started
)

// Status is how local work is at a moment.
type Status struct {
	Phase    Phase
	Run      int           // number of the run under way, or of the last; counts from 1
	PID      int           // zero while nothing runs
	Started  time.Time     // of that run
	Ended    time.Time     // of that run; zero while it is under way
	Took     time.Duration // until the generator had ended, or the server was ready
	Restarts int           // of a server that had ended by itself
	Exit     *int          // code of the last end; nil before the first
	Again    time.Duration // after which a server that ended is started again
	Lines    []string      // the last of its output
	Err      error         // why it failed: a *process.Failure, or a *Taken
}

// Options say what is run and who hears of it.
type Options struct {
	Command process.Command
	// Env is asked before each start for more variables of the environment, over which
	// those of Command count; nil: there are none.
	Env func() []string
	// Hide takes out of a line what nobody should see, before anything else has it.
	Hide func(line string) string
	// Output hears of each line, one at a time, and must not block.
	Output func(line string)
	// Changed says that the Status is another one, and must not block.
	Changed func()
	// Grace is the time between SIGTERM and SIGKILL, of a server; 0 is 1.5 s, so
	// that all is over within the two seconds that Ctrl-C may take.
	Grace time.Duration
	// Again is how long a server that ended for the first time stays down; 0 is 1 s.
	// It doubles with each end that follows soon.
	Again time.Duration
}

func (o Options) withDefaults() Options {
	if o.Grace == 0 {
		o.Grace = 1500 * time.Millisecond
	}
	if o.Again == 0 {
		o.Again = time.Second
	}
	if o.Output == nil {
		o.Output = func(string) {}
	}
	if o.Hide == nil {
		o.Hide = func(line string) string { return line }
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return o
}

// command is what is started now.
func (o Options) command() process.Command {
	c := o.Command
	if o.Env != nil {
		c.Env = slices.Concat(o.Env(), c.Env)
	}
	return c
}

// shownLines is how much of the output a Status holds.
const shownLines = 60

// A board holds a Status.
type board struct {
	options Options

	mu     sync.Mutex
	status Status
	asked  bool // since the run under way began
}

// Status is how the work is now.
func (b *board) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	s.Lines = slices.Clone(s.Lines)
	return s
}

func (b *board) set(f func(*Status)) {
	b.mu.Lock()
	f(&b.status)
	b.mu.Unlock()
	b.options.Changed()
}

func (b *board) line(text string) {
	text = b.options.Hide(text)
	b.mu.Lock()
	if n := len(b.status.Lines); n >= shownLines {
		b.status.Lines = append(b.status.Lines[:0], b.status.Lines[n-shownLines+1:]...)
	}
	b.status.Lines = append(b.status.Lines, text)
	b.mu.Unlock()
	b.options.Output(text)
}

// began notes a run that begins.
func (b *board) began() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = false
	s := &b.status
	s.Phase, s.Run, s.PID = Running, s.Run+1, 0
	s.Started, s.Ended, s.Took, s.Again = time.Now(), time.Time{}, 0, 0
	s.Lines, s.Err = nil, nil
}
