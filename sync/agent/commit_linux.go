package agent

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/kdev-io/kdev/sync/protocol"
)

// share is how many neighbours one of the crew takes: they are mostly of one
// directory, which the kernel locks for each change.
const share = 64

// end puts everything in place and returns the answer.
func (b *batch) end() *protocol.Ack {
	b.wait()
	ack := &protocol.Ack{Generation: b.gen, Results: b.results()}
	if b.full {
		// The rest would fit now and then and tear the batch apart: nothing changes.
		for _, s := range b.staged {
			ack.Results = append(ack.Results, protocol.Result{Path: b.abs(s.target()), Code: protocol.Full, Text: "left out: another file of the batch did not fit"})
		}
		b.giveUp()
	}
	b.commitAll()
	if b.full {
		// Named as well, or kdev took them for done.
		left := func(t *protocol.Target) {
			ack.Results = append(ack.Results, protocol.Result{Path: b.abs(t), Code: protocol.Full, Text: "left out: a file of the batch did not fit"})
		}
		for _, m := range b.chmods {
			left(&m.Target)
		}
		for _, m := range b.removes {
			left(&m.Target)
		}
	} else {
		for _, m := range b.chmods {
			b.note(b.number, &m.Target, b.chmod(m))
		}
		b.removeAll()
	}
	ack.Results = append(ack.Results, b.results()...)
	ack.Done = uint64(b.number) - min(uint64(len(ack.Results)), uint64(b.number))
	ack.Owner, ack.InPlace = b.owner, b.inPlace
	return ack
}

// results takes the failures so far, in the order of the operations: the first one
// may be the cause of the others.
func (b *batch) results() []protocol.Result {
	slices.SortStableFunc(b.failures, func(x, y failure) int { return cmp.Compare(x.number, y.number) })
	var results []protocol.Result
	for _, f := range b.failures {
		results = append(results, f.Result)
	}
	b.failures = nil
	return results
}

func (s *staged) target() *protocol.Target {
	return &protocol.Target{Root: s.key.root, Path: path.Join(s.key.dir, s.name)}
}

// commitAll renames what is staged.
func (b *batch) commitAll() {
	// In order again, which a crew does not keep.
	slices.SortFunc(b.staged, func(x, y staged) int { return cmp.Compare(x.number, y.number) })
	for part := range slices.Chunk(b.staged, share) {
		b.crew.do(func() {
			for _, s := range part {
				t := s.target()
				b.note(s.number, t, b.commit(s, b.abs(t)))
			}
		})
	}
	b.crew.wait()
	b.staged = nil
}

// removeAll removes files, and then what may be directories: kdev names those below
// others first.
func (b *batch) removeAll() {
	remove := func(m *protocol.Remove) { b.note(b.number, &m.Target, b.remove(m)) }
	var files, others []*protocol.Remove
	for _, m := range b.removes {
		switch m.Old.Type {
		case protocol.Regular, protocol.Symlink:
			files = append(files, m)
		default:
			others = append(others, m)
		}
	}
	for part := range slices.Chunk(files, share) {
		b.crew.do(func() {
			for _, m := range part {
				remove(m)
			}
		})
	}
	b.crew.wait()
	for _, m := range others {
		remove(m)
	}
}

func (b *batch) commit(s staged, abs string) error {
	d, err := b.dirs.dir(s.key, false)
	if err != nil {
		return err
	}
	defer b.dirs.release(d)
	b.replaced.hold(d, s.name)
	err = d.rename(s.temp, s.name)
	if errors.Is(err, syscall.EBUSY) && s.expected.Type == protocol.Regular {
		// The file itself is a mount point: it can only be written to.
		if err = overwrite(d.root, s.temp, s.name); err == nil {
			b.mu.Lock()
			b.inPlace = append(b.inPlace, abs)
			b.mu.Unlock()
		}
	}
	if err != nil {
		d.root.Remove(s.temp)
		return err
	}
	info, err := d.lstat(s.name)
	if err != nil {
		return err
	}
	if s.expected.Type == protocol.Regular {
		s.expected.Size = info.Size()
	}
	b.store.put(abs, s.expected, stampOf(info))
	return nil
}

func overwrite(root *os.Root, from, to string) error {
	src, err := root.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := root.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 64<<10))
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return root.Remove(from)
}
