package watch

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/tree"
)

// flush turns what the intake holds into changes.
func (w *Watcher) flush(ctx context.Context, l load) {
	if !w.rootIsThere(ctx, l) {
		return
	}
	for _, p := range w.index.Late() {
		l.dirty[p] |= look
	}
	w.examine(ctx, l.dirty)
	if l.doubt != "" {
		began := time.Now()
		w.scan(ctx, inDepth|inDoubt, ".")
		w.doubtEnd, w.doubtTook = time.Now(), time.Since(began)
		w.told.again("watch-rescan", l.doubt+"; the whole tree was compared again, nothing is lost")
	}
}

// examine looks at dirty paths. Removals come first: the watches below a
// renamed directory have to be gone when its new name is added.
func (w *Watcher) examine(ctx context.Context, dirty map[string]mark) {
	ruled := w.newRules(dirty) // other rules hold in these directories
	var again []string         // and these may be others, or have lost watches
	var here []found
	var forget []string
	moment := w.index.Glance()
	defer moment.Close()
	for _, p := range w.tops(dirty) {
		f, removed := w.settle(moment, p, dirty[p])
		here = append(here, f...)
		forget = append(forget, removed...)
	}
	if len(forget) > 0 {
		w.filter.git.Refresh(forget...)
	}
	var fresh []string
	for _, f := range here {
		w.report(ctx, moment, f.Delta, f.mark&written != 0 || f.Unsure && f.mark != glance)
		w.oddity(f.Now)
		if f.mark&(written|glance) == 0 && len(dirty) <= fewPaths {
			w.learn(ctx, f.Delta)
		}
		switch {
		case !f.Now.IsDir():
			if f.mark&glance == 0 {
				w.later.add(f.Path, time.Now())
			}
		case f.mark&(moved|deep) != 0 && f.Existed && f.Was.IsDir(), w.reopened(f.Delta):
			again = append(again, f.Path)
		case !f.Same || w.source.Recursive():
			fresh = append(fresh, f.Path)
		}
	}
	if len(ruled) > 0 {
		w.scan(ctx, inDepth, topmost(ruled)...)
	}
	if len(again) > 0 {
		w.scan(ctx, inDepth|inDoubt, topmost(again)...)
	}
	if len(fresh) > 0 {
		w.scan(ctx, 0, fresh...)
	}
}

// found is a dirty path that exists and is watched.
type found struct {
	tree.Delta
	mark mark
}

// settle compares one dirty path with the index. It reports removals at once
// and returns what is there, with the directories that are not there any more.
func (w *Watcher) settle(moment *tree.Glance, p string, m mark) (here []found, removed []string) {
	d, err := moment.Settle(p)
	if err != nil {
		if !errors.Is(err, fs.ErrInvalid) {
			w.unreadable(p, err)
		}
		return nil, nil
	}
	if !d.Exists {
		if d.Existed {
			w.pending.add(p, Remove, tree.Entry{})
		}
		if d.Existed && d.Was.IsDir() {
			return nil, w.removedBelow(d.Was, p)
		}
		return nil, nil
	}
	if w.filter.drops(p, d.Now.IsDir()) {
		return nil, w.forgetQuietly(p)
	}
	if d.Existed && d.Was.IsDir() {
		switch {
		case !d.Now.IsDir():
			removed = w.removedBelow(d.Was, p)
		case d.Was.Inode != d.Now.Inode, d.Seen: // another one, or somebody saw it gone in between
			m |= moved
			fallthrough
		case m&moved != 0:
			w.release(p)
			removed = []string{p}
		}
	}
	return []found{{d, m}}, removed
}

// removedBelow reports that all below dir is gone, and ends its watches.
func (w *Watcher) removedBelow(was tree.Entry, dir string) (dirs []string) {
	w.uncover(tree.Entry{Path: dir, Inode: was.Inode})
	dirs = append(dirs, dir)
	for _, e := range w.index.DropBelow(dir) {
		w.pending.add(e.Path, Remove, tree.Entry{})
		if e.IsDir() {
			w.uncover(e)
			dirs = append(dirs, e.Path)
		}
	}
	return dirs
}

// forgetQuietly takes p out of what is watched. What is ignored from now on is
// not removed, and nobody is told so.
func (w *Watcher) forgetQuietly(p string) (dirs []string) {
	for _, e := range w.index.Drop(p) {
		if e.IsDir() {
			w.uncover(e)
			dirs = append(dirs, e.Path)
		}
	}
	return dirs
}

// vanished handles a settled path that a listing did not show.
func (w *Watcher) vanished(p string) (dirs []string) {
	was, ok := w.index.Lookup(p)
	if ok && w.filter.drops(p, was.IsDir()) {
		return w.forgetQuietly(p)
	}
	for _, e := range w.index.Drop(p) {
		w.pending.add(e.Path, Remove, tree.Entry{})
		if e.IsDir() {
			w.uncover(e)
			dirs = append(dirs, e.Path)
		}
	}
	return dirs // if it has come back since it was listed, its event is waiting
}

// tops returns the dirty paths sorted, each replaced by the topmost directory
// above it that was never reported: its scan will find the path.
func (w *Watcher) tops(dirty map[string]mark) []string {
	var paths []string
	for p, m := range dirty {
		for i := 0; i < len(p); i++ {
			if p[i] == '/' && !w.index.Settled(p[:i]) {
				dirty[p[:i]] |= look | moved | m&written
				p = p[:i]
				break
			}
		}
		if p != "." {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// newRules takes over changed ignore rules and returns the directories in which
// they hold.
func (w *Watcher) newRules(dirty map[string]mark) (dirs []string) {
	if dirty["."]&deep != 0 {
		dirs = append(dirs, ".")
	}
	for p, m := range dirty {
		if !holdsRules(p) {
			continue
		}
		if path.Base(p) == ".git" && m&glance == 0 {
			w.later.add(p, time.Now()) // git init fills it in the next moments
		}
		dir, err := w.filter.reload(p)
		if err != nil {
			text := err.Error()
			if prob := problem.As(err); prob != nil {
				text += "; the rules before it stay in force"
			}
			w.told.again("dockerignore-syntax", text)
			continue
		}
		dirs = append(dirs, dir)
	}
	w.locks.know(w.filter.git.Repository().Dir)
	return dirs
}

// report puts the difference, if it is one, into the pending batch. evidence
// says that the file may have been written although stat shows no difference.
func (w *Watcher) report(ctx context.Context, moment *tree.Glance, d tree.Delta, evidence bool) {
	op, differs := w.judge(ctx, moment, d, evidence)
	if !differs && !d.Seen {
		return
	}
	if d.Unsure {
		w.index.Sure(d.Path)
	}
	if !differs { // as it was, but who looked in between has used something else, or found nothing
		op = Write
		if d.Now.IsDir() {
			op = Chmod
		}
	}
	w.pending.add(d.Path, op, d.Now)
	if !d.Now.IsDir() {
		w.later.add(d.Path, time.Now())
	}
}

func (w *Watcher) judge(ctx context.Context, moment *tree.Glance, d tree.Delta, evidence bool) (Op, bool) {
	const kind = fs.ModeType
	switch {
	case !d.Existed:
		return Create, true
	case d.Unsure && evidence:
		return Write, true
	case d.Same:
		if !d.Racy || !evidence {
			return "", false
		}
		return Write, !w.sameContent(ctx, moment, d)
	case d.Was.Mode&kind != d.Now.Mode&kind:
		return Write, true
	case d.Now.IsDir():
		return Chmod, d.Was.Mode != d.Now.Mode
	case d.Was.Link != d.Now.Link:
		return Write, true
	}
	content := d.Was.Size != d.Now.Size ||
		(d.Was.MTime != d.Now.MTime || d.Was.Inode != d.Now.Inode || d.Racy && evidence) && !w.sameContent(ctx, moment, d)
	if content {
		return Write, true
	}
	return Chmod, d.Was.Mode != d.Now.Mode
}

// sameContent compares with the digest of what was there, if somebody has asked
// for one: then somebody will ask for the new one too.
func (w *Watcher) sameContent(ctx context.Context, moment *tree.Glance, d tree.Delta) bool {
	if d.Now.Mode&fs.ModeSymlink != 0 {
		return true // the text was compared
	}
	if !d.Hashed || d.Was.Size != d.Now.Size {
		return false
	}
	digest, err := moment.HashOf(ctx, d.Now)
	return err == nil && digest == d.Digest
}

// maxLearned is a millisecond of reading.
const maxLearned = 1 << 20

// learn hashes a file of which only the time stamp has changed, and that nobody
// seems to have written: `touch` again, or a storm of it, is no change then.
func (w *Watcher) learn(ctx context.Context, d tree.Delta) {
	touched := d.Existed && (d.Was.MTime != d.Now.MTime || d.Unsure) && d.Was.Size == d.Now.Size && d.Was.Inode == d.Now.Inode
	if !touched || d.Hashed || d.Now.Size > maxLearned || !d.Now.IsRegular() {
		return
	}
	_, _ = w.index.Hash(ctx, d.Path) // without a digest every touch is a change
}

// rootIsThere looks at the root itself, and when it is another directory than
// before starts over. While there is none nothing is reported: a clone that
// replaces the project would come out as the removal of all.
func (w *Watcher) rootIsThere(ctx context.Context, l load) bool {
	if e, ok, err := w.index.Peek("."); err != nil || !ok || !e.IsDir() {
		if !w.rootGone {
			w.rootGone = true
			w.told.again("watch-root-gone", w.index.Root()+" is gone; waiting for it to come back")
		}
		return false
	}
	d, err := w.index.Settle(".")
	if err != nil || !d.Exists {
		return false
	}
	if !w.rootGone && d.Existed && d.Was.Inode == d.Now.Inode && l.dirty["."]&moved == 0 {
		if w.reopened(d) {
			w.scan(ctx, inDepth|inDoubt, ".")
		}
		return true
	}
	for _, e := range w.index.Dirs(".") {
		w.uncover(e)
	}
	if d.Existed {
		w.source.Remove(".")
		w.covers.dropped(".", d.Was.Inode)
	}
	if w.source.Recursive() {
		if err := w.source.Add("."); err != nil {
			w.rootGone = true // the beat tries again
			w.told.once("root", "watch-root-gone", w.display(".")+" cannot be watched and is tried again: "+err.Error())
			return false
		}
	}
	if w.rootGone || d.Existed && d.Was.Inode != d.Now.Inode {
		w.told.again("watch-root-replaced", w.index.Root()+" was replaced; the new tree was compared with the old one")
	}
	w.rootGone = false
	w.filter.git.Refresh(".")
	w.locks.know(w.filter.git.Repository().Dir)
	w.scan(ctx, inDepth|inDoubt, ".")
	return true
}

// topmost drops the directories that lie below another one.
func topmost(dirs []string) []string {
	slices.Sort(dirs)
	var out []string
	for _, d := range dirs {
		if n := len(out); n > 0 && (out[n-1] == "." || out[n-1] == d || strings.HasPrefix(d, out[n-1]+"/")) {
			continue
		}
		out = append(out, d)
	}
	return out
}

func holdsRules(p string) bool {
	name := path.Base(p)
	return name == ".gitignore" || name == ".git" || strings.HasSuffix(name, ".dockerignore")
}
