package agent

import (
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

// Exit codes of a shell, which container runtimes use as well.
const (
	exitNotFound      = 127
	exitNotExecutable = 126
	exitSignal        = 128 // plus its number
)

// A runner is the container's first process. Its fields belong to the goroutine
// of loop; others reach it through asks.
type runner struct {
	store   *store
	version string
	argv    []string
	limits  Limits
	stderr  io.Writer
	clock   func() time.Time

	asks chan func()   // run in the loop
	done chan struct{} // closed when the loop has ended

	phase     protocol.Phase
	starts    uint64
	lastExit  int
	unsynced  bool
	child     int // process ID, 0 when there is none
	started   time.Time
	mayHold   bool // the running application was started by a sync that allows it
	bySync    uint64
	ending    bool // somebody asked the container to end
	leaving   bool // a sync did, so that the kubelet starts it again
	restart   *protocol.End
	restartBy uint64
	sweeping  bool

	gate      <-chan time.Time
	gateEnd   time.Time
	wasCalled bool
	kill      <-chan time.Time
	sweep     <-chan time.Time

	jobs    []job
	job     *job // whose command runs
	command int  // its process ID
	began   time.Time

	lease *lease           // of what stands in for the application
	back  <-chan time.Time // the application is to run again

	mu      sync.Mutex // of session
	session *session
}

// A job is what follows one batch.
type job struct {
	gen      uint64
	commands [][]string
	end      *protocol.End
	opens    bool // the gate
}

// Options are what differs between a container and a test.
type Options struct {
	Version string
	Socket  string // abstract name; empty: the container's own
	Limits
}

// Limits are the bounds of design.md and of doc.go; zero means the default.
type Limits struct {
	Call  time.Duration // a start waits so long for a connection
	First time.Duration // and so long that of a program that must be the first process
	Gate  time.Duration // and so long in all for the first batch
	Hold  time.Duration // a failure this soon after a restart is held
	Grace time.Duration // between SIGTERM and SIGKILL of a restart
	// Return is how long nobody may stand in for the application before it is
	// started again.
	Return time.Duration
}

// Defaults of Limits.
const (
	callWindow  = time.Second
	firstWindow = 5 * time.Second
	gateLimit   = 2 * time.Second
	holdLimit   = 30 * time.Second
	stopGrace   = 5 * time.Second
)

func (l Limits) orDefault() Limits {
	pick := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	pick(&l.Call, callWindow)
	pick(&l.First, firstWindow)
	pick(&l.Gate, gateLimit)
	pick(&l.Hold, holdLimit)
	pick(&l.Grace, stopGrace)
	pick(&l.Return, returnAfter)
	return l
}

// sweepLimit is the time for what the old application left behind to die.
const sweepLimit = time.Second

// Run starts the application argv and returns the code with which the container
// is to end. It never returns before the application has ended.
func Run(argv []string, opts Options) int {
	debug.SetGCPercent(25) // the heap is a few hundred KB; keep it there
	r := &runner{
		store: newStore(true), version: opts.Version, argv: argv, limits: opts.Limits.orDefault(), stderr: os.Stderr, clock: time.Now,
		asks: make(chan func()), done: make(chan struct{}),
	}
	// Orphans of the application come to us even where another process is the
	// first one of the pod (shareProcessNamespace).
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0)
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN)
	l, err := listen(opts.socket(), r.refused)
	if err != nil {
		say(r.stderr, "no connection to kdev is possible: "+err.Error())
	} else {
		go r.accept(l) // ends with the process
	}
	code := r.loop(signals)
	r.farewell()
	return code
}

const prSetChildSubreaper = 36 // linux/prctl.h

func (r *runner) loop(signals <-chan os.Signal) int {
	defer close(r.done)
	r.phase = protocol.PhaseGate
	call, gate := r.limits.Call, r.limits.Gate
	if r.makesRoom() {
		call, gate = r.limits.First, max(gate, r.limits.First)
	}
	r.gate = time.After(call)
	r.gateEnd = r.clock().Add(gate)
	for {
		code, ended := -1, false
		select {
		case f := <-r.asks:
			f()
		case sig := <-signals:
			code, ended = r.signal(sig.(syscall.Signal))
		case <-r.gate:
			r.gate = nil
			r.unsynced = true
			r.start(0, false)
		case <-r.kill:
			r.kill = nil
			r.signalChild(syscall.SIGKILL)
		case <-r.sweep:
			r.sweep = nil
			r.afterSweep()
		case <-r.back:
			r.takeBack()
		}
		if !ended && r.phase == protocol.PhaseNone {
			code, ended = r.lastExit, true
		}
		if ended {
			return code
		}
	}
}

// called notes that somebody came: the first batch may take until the gate's end.
func (r *runner) called() {
	if r.phase == protocol.PhaseGate && !r.wasCalled {
		r.wasCalled = true
		r.gate = time.After(max(0, r.gateEnd.Sub(r.clock())))
	}
}

// signal handles one signal; ended says that the container is to end with code.
func (r *runner) signal(sig syscall.Signal) (code int, ended bool) {
	switch sig {
	case syscall.SIGCHLD:
		r.reap()
		return 0, false
	case syscall.SIGURG, syscall.SIGPIPE: // Go's own preemption; a peer that left
		return 0, false
	}
	if isEnd(sig) {
		r.ending = true
		if r.phase == protocol.PhaseGate {
			return exitSignal + int(sig), true
		}
		if r.phase == protocol.PhaseHeld {
			return r.lastExit, true
		}
		if r.child == 0 { // between two runs
			return exitSignal + int(sig), true
		}
	}
	if r.child != 0 {
		_ = syscall.Kill(r.child, sig)
	}
	return 0, false
}

func isEnd(sig syscall.Signal) bool {
	return sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGQUIT
}

func (r *runner) signalChild(sig syscall.Signal) {
	if r.child != 0 {
		_ = syscall.Kill(r.child, sig)
	}
}

// start starts the application.
func (r *runner) start(gen uint64, hold bool) {
	r.gate = nil
	r.starts++
	r.mayHold, r.bySync, r.started = hold, gen, r.clock()
	path, code := lookPath(r.argv, r.stderr)
	if path == "" {
		r.ended(code, false)
		return
	}
	if err := makeRoom(path, r.argv); err != nil {
		say(r.stderr, err.Error())
		r.ended(exitNotExecutable, false)
		return
	}
	tty := isTerminal(0)
	p, err := startProcess(path, r.argv, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		// A group of its own: what a terminal's keys signal, and what a restart ends.
		Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: tty, Ctty: 0},
	})
	if err != nil {
		say(r.stderr, err.Error())
		r.ended(exitNotExecutable, false)
		return
	}
	r.child = p.Pid
	_ = p.Release() // reap waits for it
	r.phase = protocol.PhaseRunning
	r.notice(&protocol.Notice{What: protocol.NoticeStarted, Generation: gen})
}

// reap takes the exit status of everything that ended. It is the only place that
// waits for processes, so that none is missed and none is waited for twice.
func (r *runner) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		switch pid {
		case r.child:
			r.child = 0
			killed := status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM)
			r.ended(exitCode(status), killed)
		case r.command:
			r.command = 0
			r.commandEnded(exitCode(status))
		}
	}
	if r.sweeping && len(orphans(r.command)) == 0 {
		r.afterSweep()
	}
}

func exitCode(s syscall.WaitStatus) int {
	if s.Signaled() {
		return exitSignal + int(s.Signal())
	}
	return s.ExitStatus()
}

// ended decides what the end of the application means.
func (r *runner) ended(code int, killed bool) {
	r.kill = nil
	r.lastExit = code
	if r.leaving {
		r.left()
		return
	}
	if r.restart != nil && !r.ending {
		r.clean()
		return
	}
	held := r.mayHold && !r.ending && !killed && code != 0 && r.clock().Sub(r.started) <= r.limits.Hold
	if held {
		r.phase = protocol.PhaseHeld
		r.notice(&protocol.Notice{What: protocol.NoticeHeld, Generation: r.bySync})
		return
	}
	r.phase = protocol.PhaseNone
	r.notice(&protocol.Notice{What: protocol.NoticeExited, Generation: r.bySync})
}

// doRestart ends the application and starts it again.
func (r *runner) doRestart(gen uint64, end *protocol.End) {
	if r.ending || r.phase == protocol.PhaseAside {
		return // it is not to run, or starts with what is there by then
	}
	r.restart, r.restartBy = end, gen
	switch r.phase {
	case protocol.PhaseRunning:
		if r.child == 0 {
			return // between two runs already
		}
		r.terminate()
	case protocol.PhaseHeld, protocol.PhaseGate:
		r.clean()
	}
}

// terminate ends the application, at last with force.
func (r *runner) terminate() {
	r.signalChild(syscall.SIGTERM)
	r.signalChild(syscall.SIGCONT) // a stopped process does not see the former
	if r.kill == nil {
		r.kill = time.After(r.limits.Grace)
	}
}

// clean ends what the old application left behind: its ports must be free.
func (r *runner) clean() {
	left := orphans(r.command)
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	r.sweeping = true
	if len(left) == 0 {
		r.afterSweep()
		return
	}
	r.sweep = time.After(sweepLimit)
}

func (r *runner) afterSweep() {
	if !r.sweeping {
		return
	}
	if left := orphans(r.command); len(left) > 0 && r.sweep != nil {
		for _, pid := range left { // children of those that just ended
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return
	}
	r.sweeping, r.sweep = false, nil
	end := r.restart
	r.restart = nil
	switch {
	case r.leaving:
		r.left()
	case end == nil:
	case r.lease != nil:
		r.stoodAside()
	default:
		r.start(r.restartBy, end.Hold)
	}
}

// act implements program. It returns when the loop has taken the request, or
// the loop has ended.
func (r *runner) act(gen uint64, end *protocol.End) {
	r.do(func() {
		j := job{gen: gen, commands: end.Commands, end: end, opens: r.phase == protocol.PhaseGate}
		if n := len(r.jobs); n > 0 {
			// One after the other, but what waits is done once.
			j.merge(r.jobs[n-1])
			r.jobs = r.jobs[:n-1]
		}
		r.jobs = append(r.jobs, j)
		r.next()
	})
}

// merge adds what an older job still had to do.
func (j *job) merge(old job) {
	all := append([][]string(nil), old.commands...)
	for _, c := range j.commands {
		if !contains(all, c) {
			all = append(all, c)
		}
	}
	j.commands = all
	j.opens = j.opens || old.opens
	end := *j.end
	end.Restart = end.Restart || old.end.Restart
	end.Container = end.Container || old.end.Container
	end.Hold = end.Hold || old.end.Hold
	if end.Signal == 0 {
		end.Signal = old.end.Signal
	}
	j.end = &end
}

func contains(all [][]string, c []string) bool {
next:
	for _, a := range all {
		if len(a) != len(c) {
			continue
		}
		for i := range a {
			if a[i] != c[i] {
				continue next
			}
		}
		return true
	}
	return false
}

// next goes on with the jobs: commands first, then one restart or signal.
func (r *runner) next() {
	for r.job == nil && len(r.jobs) > 0 {
		j := r.jobs[0]
		r.jobs = r.jobs[1:]
		r.job = &j
		r.step()
	}
}

func (r *runner) step() {
	for r.job != nil && r.command == 0 {
		j := r.job
		if len(j.commands) == 0 {
			r.job = nil
			r.conclude(j)
			return
		}
		argv := j.commands[0]
		r.began = r.clock()
		path, code := lookPath(argv, r.stderr)
		if path == "" {
			r.commandEnded(code)
			continue
		}
		p, err := startProcess(path, argv, &os.ProcAttr{
			Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true},
		})
		if err != nil {
			say(r.stderr, err.Error())
			r.commandEnded(exitNotExecutable)
			continue
		}
		r.command = p.Pid
		_ = p.Release()
	}
}

// commandEnded goes on, or gives the job up: a restart after a failed `npm ci`
// would only hide what failed. kdev runs the job again with the next change.
func (r *runner) commandEnded(code int) {
	j := r.job
	argv := j.commands[0]
	j.commands = j.commands[1:]
	r.notice(&protocol.Notice{What: protocol.NoticeCommand, Generation: j.gen, Command: argv, Code: int64(code), Took: int64(r.clock().Sub(r.began))})
	if code != 0 {
		r.job = nil
		if j.opens && r.phase == protocol.PhaseGate {
			r.unsynced = true
			r.start(0, false)
		}
		r.next()
		return
	}
	if r.command == 0 {
		r.step()
		r.next()
	}
}

// conclude does what comes after the commands.
func (r *runner) conclude(j *job) {
	if r.phase == protocol.PhaseGate {
		r.unsynced = false
		r.start(j.gen, false) // it starts with the batch's content: nothing to restart
		return
	}
	switch {
	case j.end.Restart && j.end.Container:
		r.endContainer()
	case j.end.Restart:
		r.doRestart(j.gen, j.end)
	case j.end.Signal != 0:
		n := &protocol.Notice{What: protocol.NoticeSignal, Generation: j.gen, Code: int64(j.end.Signal)}
		if r.child == 0 {
			n.Text = "the application does not run"
		} else if err := syscall.Kill(r.child, syscall.Signal(j.end.Signal)); err != nil {
			n.Text = err.Error()
		}
		r.notice(n)
	case r.phase == protocol.PhaseHeld:
		// Files changed that no rule names: they may be what was wrong.
		r.doRestart(j.gen, &protocol.End{Hold: true})
	}
}

// process implements program.
func (r *runner) process() (p protocol.Process, unsynced bool) {
	r.do(func() { p, unsynced = r.state(), r.unsynced })
	return p, unsynced
}

func (r *runner) runs() bool { return true }

func (r *runner) state() protocol.Process {
	return protocol.Process{Phase: r.phase, Starts: r.starts, ExitCode: int64(r.lastExit)}
}

// do runs f in the loop and waits for it.
func (r *runner) do(f func()) {
	taken := make(chan struct{})
	select {
	case r.asks <- func() { f(); close(taken) }:
		<-taken
	case <-r.done:
	}
}

// notice tells the session, if there is one.
func (r *runner) notice(n *protocol.Notice) {
	n.Process = r.state()
	if s := r.current(); s != nil {
		s.notice(n)
	}
}

func say(w io.Writer, text string) { io.WriteString(w, "kdev-agent: "+text+"\n") }
