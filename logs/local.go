package logs

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/logs/level"
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
	return h.source(store.Source{Kind: store.Local, Name: name})
}

// Events returns the source of the events about an object of the cluster.
func (h *Hub) Events(cluster, namespace, object string) *Local {
	return h.source(store.Source{Kind: store.Event, Cluster: cluster, Namespace: namespace, Pod: object, Container: "event"})
}

// Carried returns the source of a container whose lines another process reads and hands
// on. Containers of one workload have different colours, as those of a selection.
func (h *Hub) Carried(workload, node, namespace, pod, container string) *Local {
	return h.member(workload, store.Source{Kind: store.Container, Node: node, Namespace: namespace, Pod: pod, Container: container})
}

func (h *Hub) source(src store.Source) *Local { return h.member("", src) }

// member makes the source at the first call. It shares the colours of the group with its
// other members; "" is a group of its own.
func (h *Hub) member(group string, src store.Source) *Local {
	h.mu.Lock()
	defer h.mu.Unlock()
	whose := src.Cluster + "\x00" + src.Namespace + "\x00" + src.Pod + "\x00" + src.Name
	key := whose
	if src.Kind == store.Container {
		key += "\x00" + src.Container
	}
	if l := h.local[key]; l != nil {
		return l
	}
	if whose != "\x00\x00\x00" {
		if group == "" {
			group = whose
		}
		src.Color = h.colors.take(group, whose)
		src.ContainerColor = src.Color
	}
	l := &Local{hub: h, app: h.store.Appender(h.store.AddSource(src))}
	h.local[key] = l
	return l
}

// WriteLine adds one line, without its newline; one with newlines inside becomes
// several.
func (l *Local) WriteLine(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushHalf()
	for part := range bytes.SplitSeq([]byte(line), []byte("\n")) {
		l.add(store.Line{Time: time.Now().UnixNano()}, part)
	}
}

// WriteAt adds one line with a time and a level of its own.
func (l *Local) WriteAt(at time.Time, lv level.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(store.Line{Time: at.UnixNano(), Level: uint8(lv)}, []byte(strings.ReplaceAll(line, "\n", " ")))
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
		l.add(store.Line{Time: time.Now().UnixNano()}, bytes.TrimSuffix(line, []byte("\r")))
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
		l.add(store.Line{Time: time.Now().UnixNano()}, l.half)
		l.half = nil
	}
}

func (l *Local) add(line store.Line, text []byte) {
	if l.closed {
		return
	}
	n := copy(l.app.Free(len(text)+1), text)
	l.app.Grow(n)
	l.app.Add(line, 0, n)
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
