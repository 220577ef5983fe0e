package assemble

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/patternmatcher"
	mode "github.com/tonistiigi/dchapes-mode"
)

// The steps below follow BuildKit's solver/llbsolver/file and fsutil/copy
// statement by statement, on trees instead of mounts; the corpus in parity_test
// compares the two.

// A failedCopy is an error that BuildKit would have given too.
type failedCopy struct{ error }

// defaultDir is the mode of folders that a destination needs.
const defaultDir = fs.ModeDir | 0o755

// copyAction is COPY and ADD: src of one tree to dest of another.
func copyAction(ctx context.Context, src fsys, dst *overlay, a *pb.FileActionCopy, owner *user, unpacks func(*node) (bool, error)) error {
	if !a.CreateDestPath || a.AlwaysReplaceExistingDestPaths || a.Timestamp != -1 {
		return unsupported("a copy with options that kdev does not compute")
	}
	if strings.Contains(a.Src, `\`) {
		return unsupported("a source with a backslash")
	}
	c := &copier{ctx: ctx, src: src, dst: dst, owner: owner, action: a}
	if err := c.modes(); err != nil {
		return err
	}
	if err := c.patterns(); err != nil {
		return err
	}
	for _, p := range a.RequiredPaths {
		// What --parents names without a wildcard.
		n, err := stat(src, p)
		if err != nil {
			return err
		}
		if n == nil {
			return failedCopy{fmt.Errorf("%q: not found", p)}
		}
	}
	matches := []string{cleanPath(a.Src)}
	if a.AllowWildcard {
		var err error
		if matches, err = c.wildcards(cleanPath(a.Src)); err != nil {
			return err
		}
		if len(matches) == 0 && !a.AllowEmptyWildcard {
			return failedCopy{fmt.Errorf("%q: not found", a.Src)}
		}
	}
	for _, m := range matches {
		if a.AttemptUnpackDockerCompatibility {
			n, err := stat(src, m)
			if err != nil {
				return err
			}
			if n != nil && n.isRegular() {
				archive, err := unpacks(n)
				if err != nil {
					return err
				}
				if archive {
					return unsupported("ADD unpacks an archive")
				}
			}
		}
		if err := c.one(m, cleanPath(a.Dest)); err != nil {
			return err
		}
	}
	return nil
}

// cleanPath makes p absolute and clean but keeps a slash or "/." at its end,
// which mean something in a destination.
func cleanPath(p string) string {
	s := path.Join("/", p)
	switch {
	case strings.HasSuffix(p, "/."):
		if s != "/" {
			s += "/"
		}
		s += "."
	case strings.HasSuffix(p, "/") && s != "/":
		s += "/"
	}
	return s
}

type copier struct {
	ctx    context.Context
	src    fsys
	dst    *overlay
	owner  *user
	action *pb.FileActionCopy

	mode             *fs.FileMode
	modeSet          *mode.Set
	include, exclude *patternmatcher.PatternMatcher
	parents          []parent
}

// A parent is a folder on the way down, created once something in it is copied.
type parent struct {
	src, dst string
	copied   bool
}

func (c *copier) modes() error {
	switch {
	case c.action.ModeStr != "":
		set, err := mode.ParseWithUmask(c.action.ModeStr, 0)
		if err != nil {
			return failedCopy{err}
		}
		c.modeSet = &set
	case c.action.Mode != -1:
		m := fileMode(int64(c.action.Mode))
		c.mode = &m
	}
	return nil
}

// fileMode turns the bits of chmod into Go's.
func fileMode(bits int64) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	if bits&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if bits&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if bits&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

func (c *copier) patterns() (err error) {
	if len(c.action.IncludePatterns) > 0 {
		if c.include, err = patternmatcher.New(c.action.IncludePatterns); err != nil {
			return failedCopy{err}
		}
	}
	if len(c.action.ExcludePatterns) > 0 {
		if c.exclude, err = patternmatcher.New(c.action.ExcludePatterns); err != nil {
			return failedCopy{err}
		}
	}
	return nil
}

// wildcards is fsutil's ResolveWildcards: a pattern matches whole paths below
// the last folder without one, and what is below a match is not looked at.
func (c *copier) wildcards(src string) ([]string, error) {
	fixed, pattern := splitWildcards(src)
	if pattern == "" {
		return []string{fixed}, nil
	}
	base, err := c.resolveSource(fixed)
	if err != nil {
		return nil, err
	}
	if n, err := c.src.lstat(base); err != nil {
		return nil, err
	} else if n == nil {
		return nil, failedCopy{fmt.Errorf("%q: not found", c.action.Src)}
	}
	var out []string
	var walk func(p, rel string) error
	walk = func(p, rel string) error {
		names, err := c.src.readDir(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			p, rel := path.Join(p, name), path.Join(rel, name)
			if ok, _ := path.Match(pattern, rel); ok {
				out = append(out, "/"+p)
				continue
			}
			n, err := c.src.lstat(p)
			if err != nil {
				return err
			}
			if n != nil && n.isDir() {
				if err := walk(p, rel); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return out, walk(base, ".")
}

func (c *copier) resolveSource(p string) (string, error) {
	if c.action.FollowSymlink {
		return resolve(c.src, p)
	}
	return resolveParent(c.src, p)
}

func splitWildcards(p string) (fixed, pattern string) {
	var before, after []string
	for _, part := range strings.Split(path.Join(p), "/") {
		if len(after) > 0 || strings.ContainsAny(part, "*?[") {
			after = append(after, part)
			continue
		}
		if part == "" {
			part = "/"
		}
		before = append(before, part)
	}
	return path.Join(before...), path.Join(after...)
}

// one copies one source.
func (c *copier) one(src, dest string) error {
	dir := dest
	if d, f := path.Split(dest); f != "" && f != "." {
		dir = d
	}
	if dir != "" {
		p, err := resolve(c.dst, dir)
		if err != nil {
			return err
		}
		if err := mkdirAll(c.dst, p, c.parentMode(), c.owner); err != nil {
			return err
		}
	}
	target, err := resolve(c.dst, dest)
	if err != nil {
		return err
	}
	from, err := c.resolveSource(src)
	if err != nil {
		return err
	}
	target, err = c.prepareTarget(from, src, target)
	if err != nil {
		return err
	}
	return c.copy(from, "", target, false, patternmatcher.MatchInfo{}, patternmatcher.MatchInfo{})
}

func (c *copier) parentMode() fs.FileMode {
	if c.mode != nil {
		return fs.ModeDir | *c.mode
	}
	return defaultDir
}

func (c *copier) prepareTarget(from, src, target string) (string, error) {
	s, err := c.src.lstat(from)
	if err != nil {
		return "", err
	}
	if s == nil {
		return "", failedCopy{fmt.Errorf("%q: not found", src)}
	}
	d, err := c.dst.lstat(target)
	if err != nil {
		return "", err
	}
	contents := c.action.DirCopyContents
	if !contents && s.isDir() && d != nil || !s.isDir() && d != nil && d.isDir() {
		target = path.Join(target, path.Base(src))
	}
	dir := path.Dir(target)
	if contents && s.isDir() && d == nil {
		dir = target
	}
	return target, mkdirAll(c.dst, dir, c.parentMode(), c.owner)
}

func (c *copier) copy(src, rel, target string, overwrite bool, inc, exc patternmatcher.MatchInfo) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	include, excluded := true, false
	if rel != "" {
		var err error
		if include, inc, err = matches(c.include, rel, inc, true); err != nil {
			return failedCopy{err}
		}
		if excluded, exc, err = matches(c.exclude, rel, exc, false); err != nil {
			return failedCopy{err}
		}
		include = include && !excluded
		if !include && c.include == nil && (c.exclude == nil || !c.exclude.Exclusions()) {
			return nil
		}
	}
	n, err := c.src.lstat(src)
	if err != nil {
		return err
	}
	if n == nil {
		return failedCopy{fmt.Errorf("%q: not found", src)}
	}
	if !include && !n.isDir() {
		return nil
	}
	if include {
		if err := c.createParents(overwrite); err != nil {
			return err
		}
	}
	if n.isDir() {
		return c.folder(n, src, rel, target, overwrite, include, excluded, inc, exc)
	}
	if !n.isRegular() && !n.isLink() {
		return unsupported("a device, pipe or socket is copied")
	}
	old, err := c.dst.lstat(target)
	if err != nil {
		return err
	}
	if old != nil && old.isDir() {
		return failedCopy{fmt.Errorf("cannot replace to directory /%s with file", target)}
	}
	c.dst.set(target, c.info(n))
	return nil
}

// matches asks a matcher about rel, with what held for the folders above.
func matches(m *patternmatcher.PatternMatcher, rel string, above patternmatcher.MatchInfo, none bool) (bool, patternmatcher.MatchInfo, error) {
	if m == nil {
		return none, patternmatcher.MatchInfo{}, nil
	}
	return m.MatchesUsingParentResults(rel, above)
}

// info is the node as the destination gets it: owner and mode may be changed.
func (c *copier) info(n *node) *node {
	out := *n
	if c.owner != nil {
		out.UID, out.GID = c.owner.UID, c.owner.GID
	}
	if n.isLink() {
		return &out
	}
	switch {
	case c.modeSet != nil:
		out.Mode = n.Mode.Type() | c.modeSet.Apply(n.Mode)&^fs.ModeType
	case c.mode != nil:
		out.Mode = n.Mode.Type() | *c.mode
	}
	return &out
}

func (c *copier) folder(n *node, src, rel, target string, overwrite, include, excluded bool, inc, exc patternmatcher.MatchInfo) error {
	p := parent{src: src, dst: target}
	if include {
		created, err := c.folderOnly(target, n, overwrite)
		if err != nil {
			return err
		}
		if created || overwrite {
			c.dst.set(target, c.info(n))
		}
		p.copied = true
	}
	c.parents = append(c.parents, p)
	defer func() { c.parents = c.parents[:len(c.parents)-1] }()
	if excluded && (c.exclude == nil || !c.exclude.Exclusions()) {
		return nil
	}
	names, err := c.src.readDir(src)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.copy(path.Join(src, name), path.Join(rel, name), path.Join(target, name), true, inc, exc); err != nil {
			return err
		}
	}
	return nil
}

// folderOnly makes the folder, or sees that it may stay.
func (c *copier) folderOnly(target string, n *node, overwrite bool) (created bool, err error) {
	old, err := c.dst.lstat(target)
	if err != nil {
		return false, err
	}
	if old == nil {
		c.dst.set(target, &node{Mode: n.Mode})
		return true, nil
	}
	if !old.isDir() {
		return false, failedCopy{fmt.Errorf("cannot copy to non-directory: /%s", target)}
	}
	if overwrite {
		changed := *old
		changed.Mode = n.Mode
		c.dst.set(target, &changed)
	}
	return false, nil
}

func (c *copier) createParents(overwrite bool) error {
	for i, p := range c.parents {
		if p.copied {
			continue
		}
		n, err := stat(c.src, p.src)
		if err != nil {
			return err
		}
		if n == nil || !n.isDir() {
			return failedCopy{fmt.Errorf("%s is not a directory", p.src)}
		}
		created, err := c.folderOnly(p.dst, n, overwrite)
		if err != nil {
			return err
		}
		if created {
			c.dst.set(p.dst, c.info(n))
		}
		c.parents[i].copied = true
	}
	return nil
}
