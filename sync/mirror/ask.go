package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// An ask is a question about one container, answered by its worker between
// batches. An error that ends the connection is told to both sides.
type ask struct {
	do   func(context.Context, *conversation) (told, fatal error)
	done chan error // buffered
}

func (a ask) answer(told, fatal error) error {
	if told == nil {
		told = fatal
	}
	a.done <- told
	return fatal
}

// A Drift is a path that does not hold what it was synced with.
type Drift struct {
	Pod, Container, Path string
	Why                  string // "missing", "another content", "a directory", …
}

// Verify hashes every mapped path in every connected container of a service and
// lists what differs from the desired tree: what somebody changed by hand. With
// repair the differences are put right by the next batch, which Verify does not
// wait for.
func (m *Mirror) Verify(ctx context.Context, name string, repair bool) ([]Drift, error) {
	var all []Drift
	for _, w := range m.workers(name) {
		var found []Drift
		err := w.ask(ctx, func(ctx context.Context, c *conversation) (told, fatal error) {
			found, fatal = c.verify(ctx, repair)
			return nil, fatal
		})
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (m *Mirror) workers(name string) []*worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Collect(maps.Values(m.get(name).workers))
	slices.SortFunc(all, func(a, b *worker) int { return compare(where(a.container), where(b.container)) })
	return all
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ask hands a question to the worker's goroutine and waits for its end. Giving up
// in the middle of an answer costs the connection, which is made anew.
func (w *worker) ask(ctx context.Context, do func(context.Context, *conversation) (told, fatal error)) error {
	a := ask{func(worker context.Context, c *conversation) (told, fatal error) {
		both, cancel := context.WithCancel(worker)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return do(both, c)
	}, make(chan error, 1)}
	w.m.mu.Lock()
	connected := w.status.Connected
	w.m.mu.Unlock()
	if !connected {
		return &problem.Problem{Code: NoConnection, Summary: "there is no connection to the agent in the container", Where: where(w.describe()), Hint: "wait until the container runs"}
	}
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case w.asks <- a:
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return &problem.Problem{Code: NoConnection, Summary: "the agent in the container is busy or away", Where: where(w.describe())}
	}
	return <-a.done
}

func (c *conversation) verify(ctx context.Context, repair bool) ([]Drift, error) {
	w := c.w
	w.m.mu.Lock()
	want := map[string]engine.File{}
	if w.s.desired != nil {
		want = maps.Collect(w.s.desired.All())
	}
	w.m.mu.Unlock()
	entries, err := c.ask(ctx, slices.Sorted(maps.Keys(want)))
	if err != nil {
		return nil, err
	}
	at := w.describe()
	var all []Drift
	var paths []string
	for _, e := range entries {
		have, _ := fileOf(e.File)
		if why := differs(want[e.Path], have, e.File.Type); why != "" {
			all = append(all, Drift{at.Pod, at.Name, e.Path, why})
			paths = append(paths, e.Path)
			if repair {
				set(w.known, e, why == otherBits)
			}
		}
	}
	if repair && len(paths) > 0 {
		w.again(paths, nil)
		w.poke()
	}
	return all, nil
}

// takeRepair says whether somebody wants the files checked, once.
func (w *worker) takeRepair() bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	wanted := w.repair
	w.repair = false
	return wanted
}

// otherBits is why a file of the right content differs, where kdev has said its bits.
const otherBits = "other permission bits"

func differs(want, have engine.File, is protocol.Type) string {
	if want.Mode.IsRegular() && want.SameContent(have) && have.Mode.Perm() != 0 && permOf(want.Mode) != permOf(have.Mode) {
		return otherBits
	}
	if want.Stays() || want.Mode.IsDir() && have.Mode.IsDir() || want.SameContent(have) {
		return ""
	}
	switch is {
	case protocol.Absent:
		return "missing"
	case protocol.Unknown:
		return "cannot be read"
	case protocol.Regular:
		if want.Mode.IsRegular() {
			return "another content"
		}
		return "a file"
	case protocol.Directory:
		return "a directory"
	case protocol.Symlink:
		return "a link to " + plain(have.Link)
	}
	return "something else"
}

// Pull copies one file of a container to w, once; none of more than limit bytes.
func (m *Mirror) Pull(ctx context.Context, service, pod, path string, limit int64, to io.Writer) (fs.FileMode, error) {
	for _, w := range m.workers(service) {
		if pod != "" && w.describe().Pod != pod {
			continue
		}
		var mode fs.FileMode
		err := w.ask(ctx, func(ctx context.Context, c *conversation) (error, error) {
			var told, fatal error
			mode, told, fatal = fetch(ctx, c, where(c.w.describe()), path, limit, to)
			return told, fatal
		})
		return mode, err
	}
	return 0, &problem.Problem{Code: "sync-no-container", Summary: fmt.Sprintf("no container of %s runs", service)}
}

// A talk is a connection to an agent: questions out, answers in.
type talk interface {
	send(protocol.Message) error
	receive(context.Context) (protocol.Message, error)
}

// askAll asks what paths hold. Few questions are under way at a time: an agent
// that waits for us to take its answers takes no questions.
func askAll(ctx context.Context, t talk, paths []string) ([]protocol.Entry, error) {
	const ahead = 4
	const longest = 4 << 10 // of a link's target (PATH_MAX)
	parts := protocol.PathParts(paths)
	all := make([]protocol.Entry, 0, len(paths))
	for sent, answered := 0, 0; answered < len(parts); {
		if sent < len(parts) && sent-answered < ahead {
			if err := t.send(&protocol.Ask{ID: uint64(sent), Paths: parts[sent]}); err != nil {
				return all, err
			}
			sent++
			continue
		}
		m, err := t.receive(ctx)
		if err != nil {
			return all, err
		}
		a, ok := m.(*protocol.Answer)
		if !ok {
			return all, protocol.ErrFrame
		}
		for _, e := range a.Entries {
			if len(all) == len(paths) || e.Path != paths[len(all)] || len(e.File.Link) > longest {
				return all, protocol.ErrFrame // nobody asked for that
			}
			all = append(all, e)
		}
		if a.Last {
			answered++
		}
	}
	if len(all) != len(paths) {
		return all, protocol.ErrFrame
	}
	return all, nil
}

// fetch copies a file of a container to w. An error that ends the connection is
// fatal: nothing else stops a file that turns out to be larger than it may be.
func fetch(ctx context.Context, t talk, where, path string, limit int64, to io.Writer) (mode fs.FileMode, told, fatal error) {
	if !protocol.ValidPath(path) {
		return 0, &problem.Problem{Class: problem.Usage, Code: "sync-path", Summary: fmt.Sprintf("%q is no absolute path of a file in the container", path)}, nil
	}
	if err := t.send(&protocol.Fetch{Path: path}); err != nil {
		return 0, nil, err
	}
	m, err := t.receive(ctx)
	if err != nil {
		return 0, nil, err
	}
	head, ok := m.(*protocol.Fetched)
	if !ok {
		return 0, nil, protocol.ErrFrame
	}
	if head.File.Type != protocol.Regular {
		return 0, &problem.Problem{Code: "sync-pull", Summary: "cannot read " + path, Where: where, Err: errors.New(plain(head.Text))}, nil
	}
	tooLarge := &problem.Problem{Code: "sync-pull-size", Summary: fmt.Sprintf("%s has more than %d bytes", path, limit), Where: where, Hint: "`kdev sync pull --max-size` takes larger ones"}
	if head.File.Size > limit {
		return 0, nil, tooLarge
	}
	size := int64(0)
	for {
		m, err := t.receive(ctx)
		if err != nil {
			return 0, nil, err
		}
		switch m := m.(type) {
		case *protocol.Data:
			if size += int64(len(m.Bytes)); size > limit {
				return 0, nil, tooLarge // it has grown, or its size was a lie
			}
			if told == nil {
				_, told = to.Write(m.Bytes)
			}
		case *protocol.PutEnd:
			if m.Abort && told == nil {
				told = &problem.Problem{Code: "sync-pull", Summary: "reading " + path + " failed", Where: where}
			}
			return modeOf(head.File.Perm), told, nil
		default:
			return 0, nil, protocol.ErrFrame
		}
	}
}
