package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
)

// Which files are kept to make patches from.
const (
	patchMin  = 512 << 10 // a smaller file is sent whole in less time
	patchMax  = 512 << 20
	patchMost = 32 << 20 // a patch is held in memory
	basesMax  = 1 << 30  // on disk, in all
	basesMany = 64
)

var errNoBase = errors.New("the version that the container holds is not at hand")

// bases are copies of big files as containers hold them. They lie on disk
// without a name where the system can do that, so that nothing is left behind
// whatever happens to kdev.
type bases struct {
	mu    sync.Mutex
	have  map[tree.Digest]*base
	order []tree.Digest // least recently used first
	total int64
}

type base struct {
	f    *os.File
	size int64
	uses int // open now
	out  bool
}

func newBases() *bases { return &bases{have: map[tree.Digest]*base{}} }

// A recording is a copy that is being made. Its Write never fails: a disk that is
// full costs patches, not syncs.
type recording struct {
	b    *bases
	f    *os.File
	size int64
}

// record begins a copy of a file of the given size.
func (b *bases) record(size int64) *recording {
	r := &recording{b: b}
	if size < patchMin || size > patchMax {
		return r
	}
	r.f, _ = b.temp()
	return r
}

// temp makes a file in the user's cache, which somebody may empty at any time.
func (b *bases) temp() (*os.File, error) {
	dir := os.TempDir()
	if cache, err := os.UserCacheDir(); err == nil {
		if own := filepath.Join(cache, "kdev", "sync"); os.MkdirAll(own, 0o700) == nil {
			dir = own
		}
	}
	f, err := os.CreateTemp(dir, "base-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // not possible everywhere; then close removes it
	return f, nil
}

func (r *recording) Write(p []byte) (int, error) {
	if r.f != nil {
		if _, err := r.f.Write(p); err != nil {
			r.drop()
		}
		r.size += int64(len(p))
	}
	return len(p), nil
}

func (r *recording) drop() {
	if r.f != nil {
		discard(r.f)
		r.f = nil
	}
}

func discard(f *os.File) {
	f.Close()
	_ = os.Remove(f.Name())
}

func (r *recording) keep(d tree.Digest) {
	if r.f == nil {
		return
	}
	r.b.add(d, &base{f: r.f, size: r.size})
	r.f = nil
}

func (b *bases) add(d tree.Digest, n *base) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.have[d] != nil {
		discard(n.f)
		return
	}
	b.have[d] = n
	b.order = append(b.order, d)
	b.total += n.size
	for b.total > basesMax || len(b.order) > basesMany {
		b.evict(b.order[0])
	}
}

func (b *bases) evict(d tree.Digest) {
	old := b.have[d]
	delete(b.have, d)
	b.order = b.order[1:]
	b.total -= old.size
	old.out = true
	if old.uses == 0 {
		discard(old.f)
	}
}

func (b *bases) room(size int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total+size <= basesMax && len(b.order) < basesMany
}

func (b *bases) has(d tree.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.have[d] != nil
}

// open maps the copy with that digest.
func (b *bases) open(d tree.Digest) (data []byte, release func(), ok bool) {
	b.mu.Lock()
	n := b.have[d]
	if n == nil {
		b.mu.Unlock()
		return nil, nil, false
	}
	n.uses++
	for i, o := range b.order {
		if o == d {
			b.order = append(append(b.order[:i:i], b.order[i+1:]...), d)
			break
		}
	}
	b.mu.Unlock()
	unuse := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if n.uses--; n.uses == 0 && n.out {
			discard(n.f)
		}
	}
	data, unmap, err := mapFile(n.f, n.size)
	if err != nil {
		unuse()
		return nil, nil, false
	}
	return data, func() { unmap(); unuse() }, true
}

func (b *bases) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.order) > 0 {
		b.evict(b.order[0])
	}
}

// keepBases copies the big files of new desired trees, so that the first edit of
// one is a patch already.
func (m *Mirror) keepBases(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.keep:
		}
		for _, f := range m.bigFiles() {
			if ctx.Err() != nil {
				return
			}
			if !m.bases.has(f.Digest) && m.bases.room(f.Size) {
				m.copyBase(f)
			}
		}
	}
}

func (m *Mirror) bigFiles() []engine.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []engine.File
	for _, s := range m.service {
		if s.desired == nil {
			continue
		}
		for _, f := range s.desired.All() {
			if f.Mode.IsRegular() && f.Size >= patchMin && f.Size <= patchMax {
				all = append(all, f)
			}
		}
	}
	return all
}

func (m *Mirror) copyBase(f engine.File) {
	from, err := m.open(f)
	if err != nil {
		return
	}
	defer from.Close()
	r := m.bases.record(f.Size)
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(r, h), io.LimitReader(from, f.Size+1)); err != nil || tree.Digest(h.Sum(nil)) != f.Digest {
		r.drop()
		return
	}
	r.keep(f.Digest)
}

// patches remembers the last patches that were made.
type patches struct {
	mu   sync.Mutex
	made []*madePatch // newest last
}

type madePatch struct {
	old, new tree.Digest
	once     sync.Once
	data     []byte
	err      error
}

const patchesKept = 4

func (p *patches) get(old, new tree.Digest, make func() ([]byte, error)) ([]byte, error) {
	p.mu.Lock()
	var found *madePatch
	for _, m := range p.made {
		if m.old == old && m.new == new {
			found = m
		}
	}
	if found == nil {
		found = &madePatch{old: old, new: new}
		p.made = append(p.made, found)
		if len(p.made) > patchesKept {
			p.made = p.made[1:]
		}
	}
	p.mu.Unlock()
	found.once.Do(func() { found.data, found.err = make() })
	if found.err != nil {
		p.forget(found) // what was missing may come
	}
	return found.data, found.err
}

func (p *patches) forget(m *madePatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.made {
		if p.made[i] == m {
			p.made = append(p.made[:i:i], p.made[i+1:]...)
			return
		}
	}
}
