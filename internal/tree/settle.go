package tree

import (
	"path"
	"strings"
	"time"
)

// This file is the watcher's side of the index. An entry is settled when the
// watcher has reported it. What others learn about a path in between (a build
// that stats it just before the watcher does) must not swallow the change, so
// the settled state of such a path is kept aside until the watcher asks.

type settled struct {
	record
}

// A Delta is the difference between the settled state of a path and its state
// now, which is the settled one from then on.
type Delta struct {
	Path    string
	Was     Entry
	Now     Entry
	Existed bool
	Exists  bool
	Same    bool // nothing that stat shows has changed
	Seen    bool // somebody else has seen another state in between, and may have used it
	Unsure  bool // seen for the first time, or so late that it may have changed before; Same proves nothing
	Racy    bool // the settled state was seen so soon after its mtime that a write may hide behind the same one
	Digest  Digest
	Hashed  bool // Digest is that of the settled content
}

// Settle stats path and returns what has changed since it was last settled.
func (x *Index) Settle(p string) (Delta, error) { return (&Glance{x: x}).Settle(p) }

// Settle is Index.Settle.
func (g *Glance) Settle(p string) (Delta, error) {
	x := g.x
	p = path.Clean(p)
	now := time.Now()
	e, ok, above, err := x.lstatBelow(p, g.real)
	if err != nil {
		return Delta{Path: p}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, dir := range above {
		x.learn(dir)
	}
	return x.settle(p, e, ok, now), nil
}

// A Listing is a directory as Read saw it, compared with what was settled.
type Listing struct {
	ID      ID       // of the directory that was read
	Entries []Entry  // what is there and kept, in no order
	Changed []Delta  // created or changed, or the Same and Racy, Seen or Unsure
	Gone    []string // settled names that were not listed: removed, or not kept any more
}

// An ID tells directories apart, whatever their names.
type ID struct {
	Device uint64 // of the file system; 0 where the system has none
	Inode  uint64
}

// SettleDir reads dir and settles everything in it that keep accepts. Settled
// entries that were not listed are named in Gone and stay as they are: the
// caller knows whether they were removed or are ignored now.
func (x *Index) SettleDir(dir string, keep func(path string, isDir bool) bool) (Listing, error) {
	now := time.Now()
	entries, id, err := x.readDir(dir, keep, false)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{ID: id, Entries: entries}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dirs[dir] == nil && len(entries) > 0 {
		x.dirs[dir] = make(map[string]record, len(entries))
	}
	for _, e := range entries {
		if d := x.settle(e.Path, e, true, now); !d.Same || d.Racy || d.Seen || d.Unsure {
			l.Changed = append(l.Changed, d)
		}
	}
	l.Gone = x.unlisted(dir, entries)
	return l, nil
}

// unlisted returns the settled names in dir that entries lacks; it is called
// with the lock held.
func (x *Index) unlisted(dir string, entries []Entry) (gone []string) {
	if len(x.dirs[dir]) <= len(entries) {
		return nil
	}
	listed := make(map[string]bool, len(entries))
	for _, e := range entries {
		_, name := split(e.Path)
		listed[name] = true
	}
	for name, r := range x.dirs[dir] {
		if r.settled && !listed[name] {
			gone = append(gone, join(dir, name))
		}
	}
	return gone
}

// Late returns the paths that others saw change after the watcher settled
// them. A path leaves the list when it is settled.
func (x *Index) Late() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.late) == 0 {
		return nil
	}
	paths := make([]string, 0, len(x.late))
	for p := range x.late {
		paths = append(paths, p)
	}
	return paths
}

// Drop forgets path and everything below it, and returns the settled entries
// among them in no order.
func (x *Index) Drop(p string) []Entry { return x.drop(p, true) }

// DropBelow is Drop without path itself.
func (x *Index) DropBelow(p string) []Entry { return x.drop(p, false) }

func (x *Index) drop(p string, itself bool) []Entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []Entry
	add := func(p string, r record) {
		if _, was := x.late[p]; !was && r.settled {
			out = append(out, r.entry(p))
		}
	}
	var below func(string)
	below = func(dir string) {
		for name, r := range x.dirs[dir] {
			q := join(dir, name)
			if r.mode.IsDir() {
				below(q)
			}
			add(q, r)
		}
		delete(x.dirs, dir)
	}
	if r, ok := x.get(p); ok && itself {
		add(p, r)
		x.del(p)
	}
	below(p)
	for q, was := range x.late {
		if itself && q == p || strings.HasPrefix(q, p+"/") {
			out = append(out, was.entry(q))
			delete(x.late, q)
		}
	}
	return out
}

// Settled reports whether the watcher has reported path.
func (x *Index) Settled(p string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, ok := x.get(p)
	return ok && r.settled
}

// Dirs returns the settled directories at and below dir, parents first.
func (x *Index) Dirs(dir string) []Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []Entry
	var visit func(string, record)
	visit = func(d string, r record) {
		out = append(out, r.entry(d))
		for name, r := range x.dirs[d] {
			if r.mode.IsDir() && r.settled {
				visit(join(d, name), r)
			}
		}
	}
	if r, ok := x.get(dir); ok && r.settled && r.mode.IsDir() {
		visit(dir, r)
	}
	return out
}

// settle is called with the lock held.
func (x *Index) settle(p string, e Entry, exists bool, at time.Time) Delta {
	d := Delta{Path: p, Now: e, Exists: exists}
	cur, has := x.get(p)
	was, existed := cur, has && cur.settled
	if late, ok := x.late[p]; ok {
		was, existed, d.Seen = late.record, true, true
		delete(x.late, p)
	}
	next := recordOf(e)
	if existed && exists && was.mode.Type() == next.mode.Type() {
		if was.unseen {
			was = x.firstSight(was, next, e) // what is there now is what was there, unless its ctime denies it
		}
		d.Unsure = was.unsure
	}
	d.Existed = existed
	if existed {
		d.Was = was.entry(p)
		d.Racy = was.racy
		if was.more != nil && was.more.hashed {
			d.Digest, d.Hashed = was.more.digest, true
		}
	}
	if !exists {
		d.Same = !existed
		if has {
			x.del(p)
		}
		return d
	}
	next.unsure = d.Unsure // until the watcher has reported it
	next.settled, next.racy = true, e.IsRegular() && racyAt(e.MTime, at)
	d.Same = existed && same(was, next)
	if has && sameFile(cur, next) {
		next.more = cur.more
	}
	if !has || cur != next {
		x.put(p, next)
	}
	return d
}

// remember keeps the settled state of p when somebody else replaces it; it is
// called with the lock held.
func (x *Index) remember(p string, r record) {
	if !r.settled {
		return
	}
	if _, ok := x.late[p]; !ok {
		x.late[p] = settled{r}
	}
}
