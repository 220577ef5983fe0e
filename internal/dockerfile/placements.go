package dockerfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/kdev-io/kdev/internal/tree"
)

// A Placement is what the target image has at one container path.
type Placement struct {
	Local string     // relative to the root of the index
	Entry tree.Entry // as it is now

	// What the Dockerfile says beyond the file itself.
	Mode  *fs.FileMode // --chmod, in octal: instead of the file's permission bits
	Owner string       // --chown, as written

	Unread error // why; of a directory that may not be read: what is below is not listed
}

// Placements lists all files, links and directories of the context that can be
// synced, by container path, as they are now. The index's root is the context
// or a directory above it. A directory that may not be read is listed with what lies
// below it left out.
func (p *Plan) Placements(ctx context.Context, x *tree.Index) (map[string]Placement, error) {
	rel, err := filepath.Rel(x.Root(), p.opts.Context)
	if err != nil || !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("listing %s: it is not below %s", p.opts.Context, x.Root())
	}
	dir := filepath.ToSlash(rel)
	reads := p.contextSources()
	last := map[string]winner{}
	inContext := func(indexed string) string {
		if dir == "." {
			return indexed
		}
		return indexed[len(dir)+1:]
	}
	skip := func(indexed string, isDir bool) (skip, mayContain bool) {
		file := inContext(indexed)
		if isDir && !mayHold(reads, file) {
			return true, false
		}
		if !p.ignore.Match(file, isDir).Ignored {
			return false, true
		}
		return true, isDir && p.ignore.MayReinclude(file)
	}
	err = tree.WalkOpen(ctx, x, dir, skip, func(e tree.Entry) error {
		k := isFile
		switch {
		case e.IsDir():
			k = isDirectory
		case !e.IsRegular() && e.Mode&fs.ModeSymlink == 0:
			return nil
		}
		file := inContext(e.Path)
		if _, ok := p.recipe(file); ok {
			return nil
		}
		p.compete(last, file, k, e)
		return nil
	}, func(e tree.Entry, err error) error {
		t := p.trace(p.target, inContext(e.Path), isDirectory)
		if len(t.places) == 0 {
			return err // one above what is copied: its files go to nobody knows where
		}
		for _, pl := range t.places {
			if w := last[pl.path]; w.placement != nil && w.placement.Local == e.Path {
				w.placement.Unread = err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p.dropWritten(last)
	all := make(map[string]Placement, len(last))
	for dest, w := range last {
		if w.placement != nil {
			all[dest] = *w.placement
		}
	}
	return all, nil
}

// winner is the last line that puts something at a container path; what it puts
// there may be nothing that can be synced.
type winner struct {
	order     int
	placement *Placement
}

func (p *Plan) compete(last map[string]winner, file string, k kind, e tree.Entry) {
	t := p.trace(p.target, file, k)
	for _, pl := range t.places {
		if w, ok := last[pl.path]; ok && w.order > pl.order {
			continue
		}
		w := winner{order: pl.order}
		if t.used == nil {
			w.placement = &Placement{Local: e.Path, Entry: e, Owner: pl.owner}
			if mode, ok := modeBits(pl.mode); ok && k == isFile {
				w.placement.Mode = &mode
			}
		}
		last[pl.path] = w
	}
}

// dropWritten removes what a later line overwrites, or may overwrite, with
// something that is no file of the context.
func (p *Plan) dropWritten(last map[string]winner) {
	for i, st := range p.chain(p.target) {
		c, ok := st.(*copyStep)
		if !ok {
			continue
		}
		writes := c.writes
		if c.from != fromContext {
			for _, src := range c.sources {
				if !src.glob() && len(src.parts) > 0 {
					writes = append(writes, c.dest, path.Join(c.dest, path.Base(src.path())))
				}
			}
		}
		for dest, w := range last {
			if c.mayProvide(dest) && w.order < i+1 && w.placement != nil && !w.placement.Entry.IsDir() {
				delete(last, dest)
			}
		}
		for _, dest := range writes {
			if w, ok := last[dest]; ok && w.order < i+1 && w.placement != nil && !w.placement.Entry.IsDir() {
				delete(last, dest)
			}
		}
	}
}

// contextSources are the sources of the context in all stages of the target.
func (p *Plan) contextSources() []source {
	var all []source
	for i, s := range p.stages {
		if !p.used[i] {
			continue
		}
		for _, st := range s.steps {
			if c, ok := st.(*copyStep); ok && c.from == fromContext {
				all = append(all, c.sources...)
			}
		}
	}
	return all
}

func mayHold(sources []source, dir string) bool {
	for _, s := range sources {
		if s.above(dir) {
			return true
		}
	}
	return false
}
