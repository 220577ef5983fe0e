package tree

import (
	"math"
	"time"
)

// This file takes a tree as it is for settled without looking at each of its
// files. Once a directory is listened to, its names alone make the baseline: a
// change of any of them is announced. What stat says of 200,000 files is most of
// the time of the first look at a tree, so it is asked for afterwards.
//
// A file that is seen for the first time may have changed since the baseline. Its
// ctime decides, which every change moves and no program can set: when it lies
// before the baseline, what is seen is what was there. Otherwise the record is
// unsure: at the first sign of a change, whatever stat says, the watcher is to
// report the path.

// unlooked is the ctime of an entry of which only name and kind were read.
const unlooked = math.MinInt64

// Baseline says that ListDir is going to be called for what is there now.
func (x *Index) Baseline(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.since = now.UnixNano()
}

// ListDir is SettleDir for a directory whose changes are announced already, by
// name and kind alone. Directories are looked at all the same, and everything
// where the system does not say kinds without a look. Entries of which only
// that is known have no other field set, and are not among the changed ones.
func (x *Index) ListDir(dir string, keep func(path string, isDir bool) bool) (Listing, error) {
	now := time.Now()
	entries, id, err := x.readDir(dir, keep, true)
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
		if e.ctime != unlooked {
			if d := x.settle(e.Path, e, true, now); !d.Same || d.Seen {
				l.Changed = append(l.Changed, d)
			}
			continue
		}
		r, has := x.get(e.Path)
		if !has || r.mode.Type() != e.Mode.Type() {
			r = record{mode: e.Mode}
		}
		r.settled, r.unseen, r.unsure = true, true, false
		x.put(e.Path, r)
		delete(x.late, e.Path)
	}
	l.Gone = x.unlisted(dir, entries)
	return l, nil
}

// Fill looks at those entries of dir that ListDir has left out, and returns the
// ones that have certainly changed since.
func (x *Index) Fill(dir string) (changed []string, err error) {
	var names []string
	x.mu.RLock()
	for name, r := range x.dirs[dir] {
		if r.unseen {
			names = append(names, name)
		}
	}
	x.mu.RUnlock()
	if len(names) == 0 {
		return nil, nil
	}
	entries, err := x.statNames(dir, names)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range entries {
		old, ok := x.get(e.Path)
		now := recordOf(e)
		if !ok || !old.unseen || old.mode.Type() != now.mode.Type() {
			continue // the watcher was faster, or will be told of it
		}
		x.put(e.Path, x.firstSight(old, now, e))
		if e.ctime > x.since {
			changed = append(changed, e.Path)
		}
	}
	return changed, nil
}

// Sure says that the watcher has reported an unsure path.
func (x *Index) Sure(p string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r, ok := x.get(p); ok && r.unsure {
		r.unsure = false
		x.put(p, r)
	}
}

// firstSight is the record of an unseen path of which e, with the record now, is
// the first that is seen.
func (x *Index) firstSight(old, now record, e Entry) record {
	now.settled = old.settled
	now.unsure = !before(e.ctime, x.since)
	if same(old, now) { // it was seen before the baseline
		now.more = old.more
	}
	return now
}

// before reports whether a change at ctime surely came before the moment since.
// Where the clock of the file system is coarse, a change after it may have a
// time stamp that lies before it; see racyAt.
func before(ctime, since int64) bool { return since-ctime >= coarseness(ctime) }
