package logs

import (
	"errors"
	"fmt"
	"time"

	"github.com/kdev-io/kdev/logs/store"
)

// flushBytes is how much is written at once under load.
const flushBytes = 64 << 10

// write formats lines in the order of the store until ended is closed and nothing
// is left. It is the only one that writes to Out. When Out fails it calls stop, so
// that readers do not wait for it for ever.
func (h *Hub) write(ended <-chan struct{}, stop func()) error {
	cur := h.store.Cursor(true)
	defer cur.Close()
	w := &pacer{hub: h, buf: make([]byte, 0, flushBytes+flushBytes/4)}
	last := false
	for {
		segs, lost := cur.Next()
		if lost > 0 {
			w.buf = fmt.Appendf(w.buf, "kdev: %d lines were dropped: the output was too slow for them\n", lost)
		}
		for i := range segs {
			if err := w.segment(&segs[i]); err != nil {
				return w.failed(err, stop)
			}
		}
		if len(segs) > 0 {
			continue
		}
		if last {
			return w.failed(w.flush(), stop)
		}
		// Nothing more for now. A first line goes out at once; what follows it within
		// FlushEvery goes out together.
		if d := w.due(); len(w.buf) > 0 && d <= 0 {
			if err := w.flush(); err != nil {
				return w.failed(err, stop)
			}
		} else if len(w.buf) > 0 {
			timer := time.NewTimer(d)
			select {
			case <-timer.C:
			case <-ended:
				last = true
			}
			timer.Stop()
			continue
		}
		select {
		case <-cur.Changed():
		case <-ended:
			last = true
		}
	}
}

// A pacer collects formatted lines and writes them in large pieces.
type pacer struct {
	hub  *Hub
	buf  []byte
	last time.Time
}

func (w *pacer) segment(g *store.Segment) error {
	h := w.hub
	for _, l := range g.Lines {
		msg := g.Text(l)
		if !h.filter.Match(g.Source, &l, msg) {
			continue
		}
		w.buf = h.format.Append(w.buf, g.Source, l, msg)
		if len(w.buf) >= flushBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *pacer) due() time.Duration { return w.hub.opts.FlushEvery - time.Since(w.last) }

func (w *pacer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.hub.opts.Out.Write(w.buf)
	w.buf = w.buf[:0]
	w.last = time.Now()
	return err
}

// ErrOutput is a failure to write to Out.
var ErrOutput = errors.New("write logs")

func (w *pacer) failed(err error, stop func()) error {
	if err == nil {
		return nil
	}
	stop()
	return fmt.Errorf("%w: %w", ErrOutput, err)
}
