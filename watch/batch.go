package watch

import (
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

// pending is the batch that the consumer has not taken yet.
type pending struct {
	generation uint64
	dirtied    bool // since the last stamp
	time       time.Time
	changes    map[string]Change
}

func newPending() *pending { return &pending{changes: map[string]Change{}} }

// add puts a change after those that are already there.
func (p *pending) add(path string, op Op, e tree.Entry) {
	p.dirtied = true
	old, has := p.changes[path]
	if has {
		var any bool
		if op, any = sum(old.Op, op); !any {
			delete(p.changes, path)
			return
		}
	}
	p.changes[path] = Change{Path: path, Op: op, Entry: e}
}

// sum is what two changes of one path are together; false when nothing.
func sum(first, second Op) (Op, bool) {
	switch {
	case first == Create && second == Remove:
		return "", false
	case first == Create:
		return Create, true
	case first == Remove && second == Create:
		return Write, true
	case second == Chmod && first == Write:
		return Write, true
	}
	return second, true
}

// stamp ends a flush: what it added gets the next generation. It reports whether
// there is something to deliver.
func (p *pending) stamp(now time.Time) bool {
	if p.dirtied {
		p.dirtied = false
		p.generation++
		p.time = now
	}
	return len(p.changes) > 0
}

func (p *pending) batch() Batch {
	b := Batch{Generation: p.generation, Time: p.time, Changes: make([]Change, 0, len(p.changes))}
	for _, c := range p.changes {
		b.Changes = append(b.Changes, c)
	}
	slices.SortFunc(b.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return b
}

func (p *pending) taken() { p.changes = map[string]Change{} }
