package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// Sizes of a file's content on the wire.
const (
	inlineLimit = 64 << 10 // what goes with the operation; above it is streamed
	chunkSize   = 64 << 10
)

// What the answer to a batch may say: of each operation two paths, a link's target and the
// system's words.
const (
	ackBase = 64 << 10
	ackEach = 16 << 10
)

// batch sends one plan and takes in the answer.
func (c *conversation) batch(ctx context.Context, p plan, first bool, beat <-chan time.Time) error {
	w := c.w
	if len(p.ops) == 0 && !first && p.act.empty() {
		w.settle(p, 0, 0, 0, nil) // the container has it already
		return nil
	}
	began, before := w.m.opts.Now(), c.out.Sent()
	w.unanswered, w.unansweredOf, w.restartFor = p.act, p.generation, nil
	if c.welcome.Restarts {
		w.restartFor = p.restartFor
	}
	unread, err := c.sendBatch(p)
	if err != nil {
		return err
	}
	c.unacked = c.out.Sent() - before
	ack, err := c.acknowledged(ctx, p, beat)
	c.unacked = 0
	if err != nil {
		return err
	}
	took := w.m.opts.Now().Sub(began)
	w.version, w.unanswered = ack.Version, actions{}
	if ack.Acted {
		w.owed, w.answered = actions{}, p.generation
		w.restarted.count(w.restartFor)
		if left := p.act.impossible(c.welcome.Restarts); !c.welcome.Run && !left.empty() {
			w.event(Event{Kind: Hooked, Generation: p.generation, Problem: noRunProblem(w.describe(), &left)})
		}
		if p.vain != "" {
			w.event(Event{Kind: Hooked, Generation: p.generation, Problem: vainProblem(w.describe(), p.vain)})
		}
	} else {
		w.owed = p.act
	}
	if c.results(p, ack, unread) {
		w.settle(p, len(p.ops), c.out.Sent()-before, took, ack)
	}
	return nil
}

// sendBatch writes the whole batch without waiting for anything but the stream.
// It returns the paths of files that could not be read as they were described.
func (c *conversation) sendBatch(p plan) (unread map[string]error, err error) {
	index := map[string]uint64{}
	var roots []string
	for _, r := range p.roots {
		if _, ok := index[r]; !ok {
			index[r] = uint64(len(roots))
			roots = append(roots, r)
		}
	}
	if err := c.out.Send(&protocol.Begin{Generation: p.generation, Place: placeOf(c.w.describe()), Roots: roots}); err != nil {
		return nil, err
	}
	unread = map[string]error{}
	for i, op := range p.ops {
		target := protocol.Target{Root: index[p.roots[i]], Path: relative(p.roots[i], op.Path), Old: expected(op.Old)}
		var m protocol.Message
		switch op.Kind {
		case engine.Remove:
			m = &protocol.Remove{Target: target, Now: op.Now}
		case engine.Mkdir:
			m = &protocol.Mkdir{Target: target, Perm: permOf(op.File.Mode), SetPerm: op.SetPerm}
		case engine.Link:
			m = &protocol.Link{Target: target, To: op.File.Link, MTime: op.File.MTime}
		case engine.Chmod:
			m = &protocol.Chmod{Target: target, Perm: permOf(op.File.Mode)}
		case engine.Put:
			local, err := c.put(op, target)
			if err != nil {
				return nil, err
			}
			if local != nil {
				unread[op.Path] = local
			}
			continue
		}
		if err := c.out.Send(m); err != nil {
			return nil, err
		}
	}
	if err := c.out.Send(p.act.end()); err != nil {
		return nil, err
	}
	return unread, c.out.Flush()
}

// placeOf names a container for as long as its pod's name is in use: through restarts,
// and where the pod is a StatefulSet's through its replacement.
func placeOf(c Container) (place [8]byte) {
	sum := sha256.Sum256([]byte(c.Namespace + "\x00" + c.Pod + "\x00" + c.Name))
	copy(place[:], sum[:])
	return place
}

// errChanged says that a local file is not what it was when it was hashed. The
// watcher will say what it is now.
var errChanged = errors.New("the file changed while it was read")

// put sends a file's content. local says why it could not be read; err ends the
// connection.
func (c *conversation) put(op engine.Op, target protocol.Target) (local, err error) {
	m := &protocol.Put{
		Target: target, Perm: permOf(op.File.Mode), SetPerm: op.SetPerm,
		MTime: op.File.MTime, Size: op.File.Size, Digest: op.File.Digest,
	}
	if op.File.Size <= inlineLimit {
		content, local := c.w.m.content(op.File)
		if local != nil {
			return local, nil
		}
		m.Inline, m.Size = content, int64(len(content))
		if small := c.deflate(content); small != nil {
			m.Encoding, m.Inline = protocol.Deflated, small
		}
		return nil, c.out.Send(m)
	}
	f, local := c.w.m.open(op.File)
	if local != nil {
		return local, nil
	}
	defer f.Close()
	if done, local, err := c.patched(op, m); done || local != nil || err != nil {
		return local, err
	}
	return c.stream(f, m)
}

// content is that of a small file, as it was when it was hashed. Its size may have been
// seen a moment earlier: of an editor that truncates and writes, that is 0.
func (m *Mirror) content(file engine.File) ([]byte, error) {
	if m.opts.Recent != nil {
		if content, ok := m.opts.Recent(file.Digest); ok && len(content) <= inlineLimit {
			return content, nil
		}
	}
	f, err := m.open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content := bytes.NewBuffer(make([]byte, 0, file.Size+bytes.MinRead))
	switch _, err := content.ReadFrom(io.LimitReader(f, inlineLimit+1)); {
	case err != nil:
		return nil, err
	case content.Len() > inlineLimit || sha256.Sum256(content.Bytes()) != file.Digest:
		return nil, errChanged
	}
	return content.Bytes(), nil
}

// acknowledged waits for the answer to a batch.
func (c *conversation) acknowledged(ctx context.Context, p plan, beat <-chan time.Time) (*protocol.Ack, error) {
	var whole *protocol.Ack
	parts, size := 0, 0
	slow := time.NewTimer(c.w.m.opts.Slow + time.Duration(c.unacked/bigBatch)*time.Second)
	defer slow.Stop()
	for {
		select {
		case <-slow.C:
			// It answers pings, or the connection would end: something in the container
			// holds it up, a disk or a stopped process.
			c.w.fail(p.generation, slowProblem(c.w.describe()))
		case m, ok := <-c.in:
			ack, is := m.(*protocol.Ack)
			if !is {
				if err := c.other(m, ok); err != nil {
					return nil, err
				}
				continue
			}
			c.waiting = false
			if ack.Generation != p.generation {
				return nil, protocol.ErrFrame
			}
			if whole == nil {
				whole = ack
			} else {
				whole.Results = append(whole.Results, ack.Results...)
			}
			for i := range ack.Results {
				r := &ack.Results[i]
				size += len(r.Path) + len(r.Text) + len(r.Actual.Link)
			}
			// A path that failed may be named as left out as well.
			if parts++; len(whole.Results) > 2*len(p.ops) || parts > len(p.ops)+1 || size > ackBase+ackEach*len(p.ops) {
				return nil, protocol.ErrFrame
			}
			if !ack.More {
				return whole, nil
			}
		case <-beat:
			if err := c.beat(); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// results records what became of each operation and says whether the batch is
// complete but for paths that are refused.
func (c *conversation) results(p plan, ack *protocol.Ack, unread map[string]error) bool {
	w := c.w
	failed := make(map[string]*protocol.Result, len(ack.Results))
	order := make(map[string]int, len(ack.Results))
	for i := range ack.Results {
		r := &ack.Results[i]
		if failed[r.Path] == nil {
			failed[r.Path], order[r.Path] = r, i
		}
	}
	var retry, later []string
	var problem error
	first := len(ack.Results) // of the results: the cause; others follow from it
	blame := func(op engine.Op, r *protocol.Result) {
		if order[op.Path] < first {
			first, problem = order[op.Path], w.pathProblem(c, op, r)
		}
	}
	for _, op := range p.ops {
		if err := unread[op.Path]; err != nil {
			later = append(later, op.Path)
			if w.count(op.Path) > maxMismatch {
				problem = err
			}
			continue
		}
		r := failed[op.Path]
		if r == nil {
			w.known.Apply(op)
			delete(w.tries, op.Path)
			continue
		}
		switch r.Code {
		case protocol.Mismatch:
			set(w.known, protocol.Entry{Path: op.Path, File: r.Actual}, false)
			if w.count(op.Path) <= maxMismatch {
				retry = append(retry, op.Path)
				continue
			}
			later = append(later, op.Path)
			blame(op, r)
		case protocol.Full, protocol.Failed, protocol.Corrupt, protocol.Aborted:
			later = append(later, op.Path)
			blame(op, r)
		default:
			want, exists := w.wanted(op)
			w.refused[op.Path] = refusal{want, exists, false, w.pathProblem(c, op, r)}
		}
	}
	w.again(retry, later)
	switch {
	case len(retry) > 0:
		return false // at once
	case problem != nil:
		w.fail(p.generation, asProblem(problem))
		c.retry.Reset(retryFull)
		return false
	case len(later) > 0:
		c.retry.Reset(retryLocal)
		return false
	}
	return true
}

// count counts attempts at a path that did not work out.
func (w *worker) count(p string) int {
	w.tries[p]++
	return w.tries[p]
}

func (w *worker) wanted(op engine.Op) (engine.File, bool) {
	if op.Kind == engine.Remove {
		return engine.File{}, false
	}
	return op.File, true
}

func andOthers(n int) string {
	if n == 1 {
		return " (and one more path)"
	}
	return fmt.Sprintf(" (and %d more paths)", n)
}

// describeMount names a mount for people.
func describeMount(m *protocol.Mount) string {
	kind := plain(m.FSType)
	if m.ReadOnly {
		kind = "read-only " + kind
	}
	return plain(path.Clean(m.Path)) + " (" + kind + ")"
}
