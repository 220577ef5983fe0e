package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/kdev-io/kdev/logs/store"
)

// MaxLine is the longest message that is kept whole.
const MaxLine = 1 << 20

// cutMark ends a message that was longer.
const cutMark = " … [cut by kdev: the line is longer than 1 MiB]"

// stampRoom is what a time and its space can take before the message.
const stampRoom = 40

// An ingest turns the bytes of streams into lines of the store. It belongs to one
// goroutine.
type ingest struct {
	app     *store.Appender
	hooks   Hooks
	stamped bool // lines begin with a time
	stamps  stamper
	seen    window

	again    *replay // nil, or what lines are held against
	drain    *drainRule
	suspect  bool   // this stream may be of another log than the last one
	other    bool   // it is
	marking  bool   // remember lines, pass none on
	first    int64  // time of the first line of this stream that was passed on; 0 when there is none
	passed   int    // lines passed on from this stream
	known    int    // lines of it that were passed on before
	since    int64  // drop what is older; 0 keeps all
	from     int64  // drop what comes before the line of this time; 0 where that has come
	scanned  int    // pending bytes known to hold no newline
	kubelet  string // what the kubelet said in this stream instead of a line
	lastSaid string // an unstamped line of the stream before

	// activity is odd while a read waits for the stream, even while we work; it
	// grows with each change.
	activity atomic.Uint64
}

// begin prepares for a stream; what is left of a half line goes, since a stream
// that is opened again repeats it from its start.
func (in *ingest) begin(again *replay) {
	in.app.Consume(len(in.app.Pending()))
	in.again, in.first, in.passed, in.known = again, 0, 0, 0
	in.scanned, in.kubelet, in.other = 0, "", false
	in.activity.Store(0)
}

// errOtherLog is the end of a stream that does not go on where the last one ended.
var errOtherLog = errors.New("the stream is of another log")

// read passes on the lines of r until it ends; io.EOF is no error. The line that
// has no newline yet stays pending.
func (in *ingest) read(ctx context.Context, r io.Reader) error {
	for {
		free := in.app.Free(4 << 10)
		in.activity.Add(1)
		n, err := r.Read(free)
		in.activity.Add(1)
		in.app.Grow(n)
		in.split()
		if in.other {
			in.app.Discard()
			return errOtherLog
		}
		if cerr := in.commit(ctx); cerr != nil {
			return cerr
		}
		if err == io.EOF {
			in.said()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// said takes text of the kubelet that ends a stream: it has no newline behind it.
func (in *ingest) said() {
	p := in.app.Pending()
	if text := string(p[:min(len(p), 512)]); in.stamped && isKubeletText(text) {
		in.kubelet = text
		in.app.Consume(len(p))
		in.scanned = 0
	}
}

// say adds a line that has no time. Nothing is pending.
func (in *ingest) say(text string) {
	n := copy(in.app.Free(len(text)), text)
	in.app.Grow(n)
	in.add(store.Line{Flags: store.NoStamp}, 0, n)
	in.app.Consume(n)
}

// half is the time of the pending half line; false where there is none.
func (in *ingest) half() (t int64, ok bool) {
	if !in.stamped || len(in.app.Pending()) == 0 {
		return 0, false
	}
	t, _, ok = in.stamps.parse(in.app.Pending())
	return t, ok
}

// end passes on the pending half line: of a container that wrote its last.
func (in *ingest) end(ctx context.Context) error {
	if rest := in.app.Pending(); len(rest) > 0 {
		in.line(0, len(rest))
		in.app.Consume(len(rest))
	}
	in.scanned = 0
	return in.commit(ctx)
}

func (in *ingest) commit(ctx context.Context) error {
	if in.hooks.Lines != nil {
		if lines, data := in.app.Added(); len(lines) > 0 {
			in.hooks.Lines(lines, data)
		}
	}
	return in.app.Commit(ctx)
}

// split adds the complete lines of what is pending.
func (in *ingest) split() {
	p := in.app.Pending()
	off := 0
	for {
		i := bytes.IndexByte(p[off+in.scanned:], '\n')
		if i < 0 {
			break
		}
		end := off + in.scanned + i
		in.line(off, end-off)
		off, in.scanned = end+1, 0
	}
	in.app.Consume(off)
	p = p[off:]
	in.scanned = len(p)
	// Room for the mark stays behind the part that is kept, so that the newline,
	// once it comes, is never under it.
	if keep := stampRoom + MaxLine + len(cutMark); len(p) > keep {
		in.app.Truncate(keep)
		in.scanned = keep
	}
}

// line adds one line of the pending bytes.
func (in *ingest) line(off, n int) {
	p := in.app.Pending()[off : off+n]
	l := store.Line{}
	msg := off
	if in.stamped {
		t, size, ok := in.stamps.parse(p)
		if !ok {
			in.unstamped(off, n)
			return
		}
		if in.skip(t) {
			return
		}
		l.Time = t
		msg += min(size+1, n)
		in.lastSaid = ""
	}
	in.add(l, msg, n-(msg-off))
}

// add appends a message; a mark takes the place of the end of one that is too long.
func (in *ingest) add(l store.Line, off, n int) {
	if n > MaxLine+len(cutMark) {
		n = MaxLine + copy(in.app.Pending()[off+MaxLine:], cutMark)
		l.Flags |= store.Truncated
	}
	in.passed++
	in.app.Add(l, off, n)
}

// skip says whether a stamped line was seen before or is out of range, and
// remembers it otherwise.
func (in *ingest) skip(t int64) bool {
	if in.drain != nil {
		if in.drain.known(t) {
			in.known++
			return true
		}
		in.drain.seen.add(t)
		return t < in.since
	}
	if t < in.from {
		return true
	}
	in.from = 0
	if in.again.known(t) {
		in.known++
		return true
	}
	if in.suspect && in.again != nil && in.known == 0 {
		// A stream that goes on from the last line shows that line first.
		in.other = true
		return true
	}
	if in.first == 0 {
		in.first = t
	}
	in.seen.add(t)
	return in.marking || t < in.since
}

// unstamped handles text that the kubelet put into the stream itself, or that
// comes from a proxy between.
func (in *ingest) unstamped(off, n int) {
	text := string(in.app.Pending()[off : off+min(n, 512)])
	switch {
	case isKubeletText(text):
		in.kubelet = text
	case text == in.lastSaid:
		// said again by a stream that was opened again
	default:
		in.lastSaid = text
		in.add(store.Line{Flags: store.NoStamp}, off, n)
	}
}
