package logs

import (
	"errors"
	"fmt"
	"time"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/store"
)

// flushBytes is how much is written at once under load.
const flushBytes = 64 << 10

// ErrOutput is a failure to write to Out, ErrSave one to write to Save.
var (
	ErrOutput = errors.New("write logs")
	ErrSave   = errors.New("save logs")
)

// A writer takes lines from the store, in its order, through filter, join and merge
// to the formatter, and is the only one that writes to Out. It belongs to one
// goroutine.
type writer struct {
	hub   *Hub
	emit  filter.Emit // where filtered lines go
	join  *joiner     // nil without
	merge *merger     // nil without
	last  time.Time
	buf   []byte
	saved []byte
	save  *format.Formatter
	met   bool // a line matched Until
	err   error
	// unsaved is why Save got no more; nil while it does.
	unsaved error
}

func newWriter(h *Hub) (*writer, error) {
	w := &writer{hub: h, buf: make([]byte, 0, flushBytes+flushBytes/4)}
	// Merge comes last: filter and join hold lines of a container back, as context and
	// until their record is whole.
	emit := filter.Emit(w.show)
	if h.opts.Merge {
		w.merge = &merger{emit: w.show, now: time.Now, start: time.Now().UnixNano(), once: h.once,
			behind: func() bool { return h.Behind(false) }}
		emit = w.merge.push
	}
	if h.opts.Join {
		w.join = &joiner{emit: emit, now: time.Now}
		emit = w.join.push
	}
	w.emit = emit
	if h.opts.Save != nil {
		opts := h.opts.Format
		// As on a terminal without colours: those of the pods go too.
		opts.Color, opts.Safe, opts.Highlight = false, true, nil
		var err error
		if w.save, err = format.New(opts); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// write works until ended is closed and nothing is left. When Out fails, or a line
// matched Until, it calls stop, so that readers do not wait for it for ever.
func (w *writer) write(ended <-chan struct{}, stop func()) error {
	cur := w.hub.store.Cursor(true)
	defer cur.Close()
	defer stop()
	last := false
	for {
		segs, lost := cur.Next()
		switch {
		case lost > 0 && w.hub.opts.Lost != nil:
			w.hub.opts.Lost(lost)
		case lost > 0:
			w.buf = fmt.Appendf(w.buf, "kdev: %d lines were dropped: the output was too slow for them\n", lost)
		}
		for i := range segs {
			w.segment(&segs[i])
			if w.err != nil || w.met {
				return w.finish()
			}
		}
		if len(segs) > 0 {
			if w.hub.ends.waiting() {
				w.flush()
				w.hub.ends.wrote(cur.Position(), w.heldFor())
			}
			continue
		}
		if last {
			w.stages(true)
			return w.finish()
		}
		// Nothing more for now.
		w.stages(false)
		if w.err != nil || w.met {
			return w.finish()
		}
		if len(w.buf) == 0 {
			w.hub.ends.wrote(cur.Position(), w.heldFor())
		}
		wait := w.hub.store.Changed(cur.Position())
		timer := time.NewTimer(w.pause())
		select {
		case <-wait:
			if len(w.buf) > 0 {
				// More has come, but what is there has its time: it is written in one
				// piece with what comes until then.
				select {
				case <-timer.C:
				case <-ended:
					last = true
				}
			}
		case <-timer.C:
		case <-ended:
			last = true
		}
		timer.Stop()
		if len(w.buf) > 0 && w.due() <= 0 {
			w.flush()
		}
		if w.err != nil {
			return w.finish()
		}
	}
}

// finish writes what is left.
func (w *writer) finish() error {
	if w.err == nil {
		w.flush()
	}
	switch {
	case w.err != nil:
		return &writeError{ErrOutput, w.err}
	case w.unsaved != nil:
		return &writeError{ErrSave, w.unsaved}
	}
	return nil
}

// A writeError is a failure of one of the outputs: one error with one cause.
type writeError struct{ output, err error }

func (e *writeError) Error() string        { return e.output.Error() + ": " + e.err.Error() }
func (e *writeError) Is(target error) bool { return target == e.output }
func (e *writeError) Unwrap() error        { return e.err }

// heldFor is how long ago a line may have come that join and merge still hold.
func (w *writer) heldFor() time.Duration {
	d := time.Duration(0)
	if w.join != nil && len(w.join.waiting) > 0 {
		d += joinWithin
	}
	if w.merge != nil && len(w.merge.heap) > 0 {
		if w.merge.once || w.merge.behind != nil {
			return forEver
		}
		d += mergeWindow
	}
	if d > 0 {
		d += w.hub.opts.FlushEvery
	}
	return d
}

// segment takes lines from the store.
func (w *writer) segment(g *store.Segment) {
	f := w.hub.filter
	if w.merge == nil && w.join == nil && f.Simple() {
		for i := range g.Lines {
			l := &g.Lines[i]
			if msg := g.Text(*l); f.Match(l, msg) {
				w.show(g.Source, *l, msg)
				if w.err != nil || w.met {
					return
				}
			}
		}
		return
	}
	for _, l := range g.Lines {
		w.filter(g.Source, l, g.Text(l))
	}
}

// filter passes on the lines that are shown.
func (w *writer) filter(src *store.Source, l store.Line, msg []byte) {
	f := w.hub.filter
	if !f.Simple() {
		f.Push(src, l, msg, w.emit)
	} else if f.Match(&l, msg) {
		w.emit(src, l, msg)
	}
}

// show formats a line.
func (w *writer) show(src *store.Source, l store.Line, msg []byte) {
	if w.met {
		return
	}
	w.buf = w.hub.format.Append(w.buf, src, l, msg)
	if w.save != nil {
		w.saved = w.save.Append(w.saved, src, l, msg)
	}
	if len(w.buf) >= flushBytes {
		w.flush()
	}
	if u := w.hub.opts.Until; u != nil && u.Match(msg) {
		w.met = true
	}
}

// stages moves on what has waited long enough in join and merge, or all.
func (w *writer) stages(all bool) {
	if w.join != nil {
		w.join.flush(all)
	}
	if w.merge != nil {
		w.merge.flush(all)
	}
}

// pause is how long to wait for more before there is something else to do. A line
// that comes alone is written at once; those that follow it within FlushEvery are
// written together.
func (w *writer) pause() time.Duration {
	d := time.Hour
	if len(w.buf) > 0 {
		d = max(w.due(), 0)
	}
	if w.merge != nil {
		if m := w.merge.due(); m > 0 {
			d = min(d, m)
		}
	}
	if w.join != nil {
		if j := w.join.due(); j > 0 {
			d = min(d, j)
		}
	}
	if w.hub.ends.waiting() {
		d = min(d, joinWithin)
	}
	return d
}

func (w *writer) due() time.Duration { return w.hub.opts.FlushEvery - time.Since(w.last) }

func (w *writer) flush() {
	if len(w.buf) > 0 {
		_, w.err = w.hub.opts.Out.Write(w.buf)
		w.buf = w.buf[:0]
		w.last = time.Now()
	}
	if len(w.saved) == 0 {
		return
	}
	_, w.unsaved = w.hub.opts.Save.Write(w.saved)
	w.saved = w.saved[:0]
	if w.unsaved != nil {
		w.save, w.saved = nil, nil
		if w.hub.opts.SaveFailed != nil {
			w.hub.opts.SaveFailed(w.unsaved)
		}
	}
}
