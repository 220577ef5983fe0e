package logs

import (
	"bytes"
	"sync"
	"time"

	"github.com/kdev-io/kdev/logs/store"
)

// A Local is a source of lines that kdev itself makes or carries: of a build, a
// sync, a local process. It is safe for concurrent use and never blocks: where the
// output is stuck, lines are dropped and counted.
type Local struct {
	hub *Hub

	mu     sync.Mutex
	app    *store.Appender
	half   []byte // what Write got without its newline
	closed bool
}

// Source returns the local source of that name, made at the first call: "build/webui".
// The empty name is kdev's own text, which is shown without a prefix.
func (h *Hub) Source(name string) *Local {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.local[name]; l != nil {
		return l
	}
	color := 0
	if name != "" {
		color = h.colors.take(name, name)
	}
	src := h.store.AddSource(store.Source{Kind: store.Local, Name: name, Color: color, ContainerColor: color})
	l := &Local{hub: h, app: h.store.Appender(src)}
	h.local[name] = l
	return l
}

// WriteLine adds one line, without its newline; one with newlines inside becomes
// several.
func (l *Local) WriteLine(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushHalf()
	for part := range bytes.SplitSeq([]byte(line), []byte("\n")) {
		l.add(part)
	}
}

// Write adds the lines of p; it makes a Local an [io.Writer] for a command's output.
func (l *Local) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte("\n"))
		if !found {
			l.half = append(l.half, p...)
			if len(l.half) > maxLocalLine {
				l.flushHalf()
			}
			return n, nil
		}
		if len(l.half) > 0 {
			line = append(l.half, line...)
			l.half = nil
		}
		l.add(bytes.TrimSuffix(line, []byte("\r")))
		p = rest
	}
}

// Flush adds what Write got behind the last newline.
func (l *Local) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushHalf()
}

const maxLocalLine = 1 << 20

func (l *Local) flushHalf() {
	if len(l.half) > 0 {
		l.add(l.half)
		l.half = nil
	}
}

func (l *Local) add(line []byte) {
	if l.closed {
		return
	}
	n := copy(l.app.Free(len(line)+1), line)
	l.app.Grow(n)
	l.app.Add(store.Line{Time: time.Now().UnixNano()}, 0, n)
	l.app.Consume(n)
	lines, data := l.app.Added()
	l.hub.prepare(lines, data)
	l.app.CommitNow()
}

func (h *Hub) closeLocal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.local {
		l.mu.Lock()
		if !l.closed {
			l.closed = true
			l.app.Close()
		}
		l.mu.Unlock()
	}
}
