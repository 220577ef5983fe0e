package watch

import (
	"context"
	"fmt"
	"path"
	"time"
)

const (
	// A batch is flushed when its last event is this long ago.
	quietFew  = 5 * time.Millisecond  // few paths: somebody has saved a file
	quietMany = 20 * time.Millisecond // more, or a save that is half done
	fewPaths  = 4
	quietGit  = 50 * time.Millisecond // after git has ended: the tail of its many events
	// ripeAfter is how long nothing happens to a file of a burst that has come to rest, at
	// least: its time stamp is of age then.
	ripeAfter = 25 * time.Millisecond
	// quietStorm is the pause that ends a storm of one path, or of changed modes.
	quietStorm = 50 * time.Millisecond
	// halfEvery is how often a save that is half done is looked at: its other half
	// does not wake the loop, and waiting for quietMany would be four times as long.
	halfEvery = time.Millisecond
	// quietCap bounds a batch whose events do not end.
	quietCap = 250 * time.Millisecond

	pollEvery = 500 * time.Millisecond
	beatEvery = time.Second
	// goneEvery is how often a root that is gone is looked for.
	goneEvery = 100 * time.Millisecond

	// lockEvery is how often a git that holds its index is asked for, and
	// lockWait how long at most.
	lockEvery = 5 * time.Millisecond
	lockWait  = 5 * time.Second
)

// holding is the state of waiting for git; it ends with the flush.
type holding struct {
	since    time.Time // zero when not waiting
	held     bool      // when last looked
	released time.Time // when the last lock went: quiet and cap count from there
}

// ahead is what has been examined of a batch that still waits for quiet: the
// looks at many files fit into that pause.
type ahead struct {
	first, last time.Time // of its events
	ripe        time.Time // when files may have come to rest next
}

func (a ahead) on() bool { return !a.first.IsZero() }

// loop flushes, polls and delivers until ctx ends.
func (w *Watcher) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	t := &times{beat: time.Now().Add(beatEvery), poll: time.Now().Add(pollEvery), wall: time.Now()}
	var ready Batch
	var out chan Batch // nil while there is nothing to deliver
	for {
		select {
		case <-ctx.Done():
			return nil
		case out <- ready:
			w.pending.taken()
			out = nil
			continue
		case <-w.intake.wake:
		case <-timer.C:
		}
		next := w.step(ctx, t)
		if w.pending.dirtied {
			out = nil // what is ready is not all any more
			if !w.ahead.on() && w.pending.stamp(time.Now()) {
				ready, out = w.pending.batch(), w.batches
			}
		}
		timer.Reset(time.Until(next))
	}
}

// times are when the periodic work is due.
type times struct {
	beat, poll time.Time
	wall       time.Time // of the last beat, by both clocks
}

// step does what is due and returns when the next thing will be.
func (w *Watcher) step(ctx context.Context, t *times) time.Time {
	now := time.Now()
	if !now.Before(t.beat) {
		w.beat(now, t)
	}
	if !now.Before(t.poll) {
		t.poll = w.poll(ctx, now)
	}
	again, waiting := w.lookAgain(ctx, now)
	next := t.beat
	earlier := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	if w.polls() {
		earlier(t.poll)
	}
	if waiting {
		earlier(again)
	}
	if at, due := w.flushAt(now); due && !at.After(now) {
		l := w.intake.take()
		w.storm.flushed(l)
		w.flush(ctx, l)
		w.holding, w.ahead = holding{}, ahead{}
		return now // the flush may have made work: look once more
	} else if due {
		earlier(at)
		if at, due := w.examineAhead(ctx, now); due {
			earlier(at)
		}
	}
	return next
}

// examineAhead looks at the many paths of a burst as soon as it pauses, and at files of
// it that have come to rest while others are still written; it returns when to try again.
// What follows is examined in its turn, and delivered together with this.
func (w *Watcher) examineAhead(ctx context.Context, now time.Time) (at time.Time, due bool) {
	n, _, l := w.intake.peek()
	if n <= fewPaths || l.doubt != "" {
		return time.Time{}, false
	}
	if e, ok, err := w.index.Peek("."); err != nil || !ok || !e.IsDir() {
		return time.Time{}, false
	}
	if w.holding != (holding{}) {
		w.examineRipe(ctx, now)
		return time.Time{}, false
	}
	if at = l.last.Add(quietFew); at.After(now) {
		w.examineRipe(ctx, now)
		return at, true
	}
	if _, held := w.locks.held(); held {
		w.examineRipe(ctx, now)
		return time.Time{}, false
	}
	if l, ok := w.intake.takeBelowRoot(); ok {
		w.lookedAhead(ctx, l)
	}
	return time.Time{}, false
}

// examineRipe looks at what nothing has happened to for a while: a burst takes as long
// as its files take to be written, and half of that is time to look.
func (w *Watcher) examineRipe(ctx context.Context, now time.Time) {
	if now.Before(w.ahead.ripe) {
		return
	}
	w.ahead.ripe = now.Add(ripeAfter)
	if l, ok := w.intake.takeRipe(); ok {
		w.lookedAhead(ctx, l)
	}
}

func (w *Watcher) lookedAhead(ctx context.Context, l load) {
	w.examine(ctx, l.dirty)
	if !w.ahead.on() {
		w.ahead.first = l.first
	}
	w.ahead.last = l.last
}

// flushAt returns when the intake is to be flushed.
func (w *Watcher) flushAt(now time.Time) (at time.Time, due bool) {
	n, few, l := w.intake.peek()
	switch {
	case w.ahead.on() && n == 0 && l.doubt == "":
		l.first, l.last = w.ahead.first, w.ahead.last
	case w.ahead.on():
		l.first = w.ahead.first
	case n == 0 && l.doubt == "":
		return time.Time{}, false
	}
	half := w.halfDone(few)
	quiet := quietFew
	switch {
	case w.storm.on(few, l.first):
		quiet = quietStorm
	case n > fewPaths || l.doubt != "" || w.ahead.on() || half:
		quiet = quietMany
	case w.onlyModes(few):
		quiet = quietStorm
	}
	at = flushTime(l, w.holding.released, quiet)
	if l.doubt != "" {
		// A queue that overflows all the time must not make the scan of the
		// whole tree the only thing that runs.
		if pause := w.doubtEnd.Add(2 * w.doubtTook); at.Before(pause) {
			at = pause
		}
	}
	switch {
	case half && at.After(now.Add(halfEvery)):
		return now.Add(halfEvery), true
	case at.After(now):
		return at, true
	case w.gitBusy(now):
		return now.Add(lockEvery), true
	case w.holding.released.Equal(now): // git has just ended: its last events may be on the way
		return now.Add(quietGit), true
	}
	return at, true
}

// gitBusy reports whether git is rewriting files, and gives up on it in time.
func (w *Watcher) gitBusy(now time.Time) bool {
	h := &w.holding
	lock, held := w.locks.held()
	if !held {
		if h.held {
			h.held, h.released = false, now
		}
		return false
	}
	if h.since.IsZero() {
		h.since = now
	}
	h.held = true
	if now.Sub(h.since) < lockWait {
		return true
	}
	w.locks.giveUp(lock)
	w.told.again("watch-git-lock", fmt.Sprintf("%s has been there for %d s; not waiting for it any more", lock, int(lockWait.Seconds())))
	*h = holding{}
	return false
}

// flushTime is the rule of batching: quiet for a while, but not later than the cap.
func flushTime(l load, released time.Time, quiet time.Duration) time.Time {
	begun := l.first
	if released.After(begun) {
		begun = released
	}
	at := l.last.Add(quiet)
	if released.Add(quietGit).After(at) {
		at = released.Add(quietGit)
	}
	if limit := begun.Add(quietCap); at.After(limit) {
		at = limit
	}
	return at
}

// halfDone reports whether one of few dirty files is in a state that editors
// leave within milliseconds: moved away for its successor, or truncated.
func (w *Watcher) halfDone(few []string) bool {
	for _, p := range few {
		was, ok := w.index.Lookup(p)
		if !ok || was.IsDir() {
			continue
		}
		now, exists, err := w.index.Peek(p)
		if err == nil && (!exists || now.IsRegular() && now.Size == 0 && was.Size > 0) {
			return true
		}
	}
	return false
}

// onlyModes reports whether nothing but the modes of dirty files differs: nobody waits for
// that as for a save, and `chmod` there and back is no change.
func (w *Watcher) onlyModes(few []string) bool {
	differs := false
	for _, p := range few {
		was, ok := w.index.Lookup(p)
		if !ok {
			return false
		}
		now, exists, err := w.index.Peek(p)
		if err != nil || !exists || now.Inode != was.Inode || now.Size != was.Size || now.MTime != was.MTime {
			return false
		}
		differs = differs || now.Mode != was.Mode
	}
	return differs
}

// lookAgain stats files whose second or third look is due, some at a time so
// that a save beside a large checkout does not wait.
func (w *Watcher) lookAgain(ctx context.Context, now time.Time) (next time.Time, waiting bool) {
	const some = 200
	if w.intake.askedAgain() {
		w.later.once(now)
	}
	due := map[string]mark{}
	for len(due) < some {
		p, ok := w.later.pop(now)
		if !ok {
			break
		}
		if (w.index.Settled(p) || path.Base(p) == ".git") && !w.intake.holds(p) {
			due[p] = glance
		}
	}
	if len(due) > 0 {
		if w.gitBusy(now) {
			for p := range due {
				w.intake.mark(p, look)
			}
		} else if e, ok, err := w.index.Peek("."); err == nil && ok && e.IsDir() {
			w.examine(ctx, due)
		}
	}
	return w.later.next()
}

// beat does what is looked at once a second: the root, rules that lie outside of
// it, and whether the machine was asleep, when events may not have been made.
func (w *Watcher) beat(now time.Time, t *times) {
	if slept(now.Round(0).Sub(t.wall.Round(0)), now.Sub(t.wall)) {
		w.intake.uncertain("the machine was suspended")
	}
	t.wall = now
	t.beat = now.Add(beatEvery)
	if w.rootGone {
		t.beat = now.Add(goneEvery)
	}
	was, _ := w.index.Lookup(".")
	if e, ok, err := w.index.Peek("."); err == nil && ok == w.rootGone || ok && e.Inode != was.Inode {
		w.intake.mark(".", moved)
	}
	if w.filter.git.Stale() {
		w.intake.mark(".", deep)
	}
	for _, p := range w.index.Late() {
		w.intake.mark(p, look)
	}
}

// slept compares how much the wall clock and the monotonic clock have advanced:
// only the first goes on while the machine is suspended.
func slept(wall, monotonic time.Duration) bool { return wall-monotonic > 2*time.Second }

func (w *Watcher) polls() bool {
	if w.options.Poll == PollNever {
		return false
	}
	_, polled := w.covers.counts()
	return polled > 0 || w.pollAll != ""
}

// poll looks at what events do not cover and returns when to do so again.
func (w *Watcher) poll(ctx context.Context, now time.Time) time.Time {
	if !w.polls() {
		return now.Add(pollEvery)
	}
	if w.gitBusy(now) {
		return now.Add(quietMany)
	}
	if e, ok, err := w.index.Peek("."); err != nil || !ok || !e.IsDir() {
		return now.Add(pollEvery) // the beat sees to it
	}
	if w.pollAll != "" {
		w.scan(ctx, inDepth|inDoubt, ".")
	} else {
		w.scan(ctx, inDoubt, w.covers.toPoll()...)
	}
	w.holding = holding{}
	took := time.Since(now)
	return now.Add(max(pollEvery, 4*took))
}
