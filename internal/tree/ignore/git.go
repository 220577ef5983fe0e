package ignore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// A GitMatcher decides as git does for a directory inside (or outside) of a
// work tree. Rules in a parent directory of the root hold too, when git would
// read them. It reads each .gitignore once: Refresh says that one has changed.
type GitMatcher struct {
	root string

	mu    sync.RWMutex
	repo  Repository
	extra *ruleset
	dirs  map[string]*gitDir // by path relative to root
	files map[string]stamp   // exclude files outside of the tree, as they were read
}

// A gitDir is what git knows while it is inside one directory.
type gitDir struct {
	ignored Verdict    // of the directory itself; its content shares it
	sets    []*ruleset // weakest first
	top     string     // absolute directory that paths of the sets are relative to
}

type stamp struct {
	size  int64
	mtime int64
}

// Git returns the matcher for the directory root. extra are lines in
// gitignore's format that hold before all others (kdev.yaml's watch.ignore);
// unlike those of a .gitignore they need no repository. A root outside of any
// repository is treated as the top of one.
func Git(root string, extra []string) (*GitMatcher, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	repo, err := FindRepository(abs)
	if err != nil {
		return nil, err
	}
	m := &GitMatcher{root: abs, repo: repo}
	if len(extra) > 0 {
		m.extra = parseRules(strings.Join(extra, "\n"), "kdev.yaml", "")
	}
	m.reset()
	return m, nil
}

// Repository is where the root's git directory is; zero outside of one.
func (m *GitMatcher) Repository() Repository {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.repo
}

// Match decides about path, relative to the root. As in git, nothing below an
// ignored directory can be brought back; the root itself is never ignored.
func (m *GitMatcher) Match(p string, isDir bool) Verdict {
	if p == "." {
		return Verdict{}
	}
	dir := parent(p)
	m.mu.RLock()
	if d := m.dirs[dir]; d != nil { // as for all entries of a directory but the first
		defer m.mu.RUnlock()
		return m.match(d, p, isDir)
	}
	m.mu.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.match(m.dir(dir), p, isDir)
}

// Own decides about path by the rules that match it itself, as if no directory
// above it were ignored.
func (m *GitMatcher) Own(p string, isDir bool) Verdict {
	if p == "." {
		return Verdict{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own(m.dir(parent(p)), p, isDir)
}

// Refresh forgets what was read in dirs and below: a .gitignore in it has
// changed, or the directory is another one.
func (m *GitMatcher) Refresh(dirs ...string) {
	changed := make(map[string]bool, len(dirs))
	for _, d := range dirs {
		changed[d] = true
	}
	if changed["."] {
		m.relocate()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if changed["."] {
		m.reset()
		return
	}
	for d := range m.dirs {
		for up := d; up != "."; up = parent(up) {
			if changed[up] {
				delete(m.dirs, d)
				break
			}
		}
	}
}

// Stale reports whether a file with rules that lies outside of the root, so
// that no watcher sees it, is not what it was when it was read, or whether the
// root has come into another repository. It starts over when so.
func (m *GitMatcher) Stale() bool {
	relocated := m.relocate()
	m.mu.Lock()
	defer m.mu.Unlock()
	if relocated {
		m.reset()
		return true
	}
	for file, was := range m.files {
		if stampOf(file) != was {
			m.reset()
			return true
		}
	}
	return false
}

// relocate looks whether the root's repository is another one: `git init`, a
// worktree where there was a clone. Git itself is asked only then.
func (m *GitMatcher) relocate() (other bool) {
	was := m.Repository()
	if top, dir, err := locate(m.root); err != nil || top == was.Top && dir == was.Dir {
		return false
	}
	repo, err := FindRepository(m.root)
	if err != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.repo = repo
	return true
}

func (m *GitMatcher) reset() {
	m.dirs = map[string]*gitDir{}
	m.files = map[string]stamp{}
	m.dirs["."] = m.rootDir()
}

func (m *GitMatcher) match(d *gitDir, p string, isDir bool) Verdict {
	if d.ignored.Ignored {
		return d.ignored
	}
	return m.own(d, p, isDir)
}

func (m *GitMatcher) own(d *gitDir, p string, isDir bool) Verdict {
	name := path.Base(p)
	if name == ".git" {
		return Verdict{Ignored: true, Rule: ".git", File: "git"}
	}
	if m.extra != nil {
		if r := m.extra.last(p, name, isDir, m.repo.FoldCase); r != nil {
			return verdict(m.extra, r)
		}
	}
	rel := p
	if d.top != m.root {
		if r, err := filepath.Rel(d.top, filepath.Join(m.root, filepath.FromSlash(p))); err == nil {
			rel = filepath.ToSlash(r)
		}
	}
	for i := len(d.sets) - 1; i >= 0; i-- {
		if r := d.sets[i].last(rel, name, isDir, m.repo.FoldCase); r != nil {
			return verdict(d.sets[i], r)
		}
	}
	return Verdict{}
}

func verdict(s *ruleset, r *rule) Verdict {
	return Verdict{Ignored: !r.negated, Rule: r.text, File: s.file, Line: r.line}
}

// dir returns what holds inside p.
func (m *GitMatcher) dir(p string) *gitDir {
	if d := m.dirs[p]; d != nil {
		return d
	}
	above := m.dir(parent(p))
	d := &gitDir{top: above.top}
	d.ignored = above.ignored
	if !d.ignored.Ignored {
		d.ignored = m.own(above, p, true)
	}
	abs := filepath.Join(m.root, filepath.FromSlash(p))
	if _, err := os.Lstat(filepath.Join(abs, ".git")); err == nil {
		// A repository of its own (a submodule, a vendored clone): the rules of
		// the one around it end here.
		if repo, err := FindRepository(abs); err == nil && repo.Top != "" {
			d.top = abs
			d.sets = m.shared(repo)
			d.sets = m.with(d.sets, abs, "", true)
			m.dirs[p] = d
			return d
		}
	}
	base, err := filepath.Rel(d.top, abs)
	if err != nil {
		base = p
	}
	d.sets = m.with(above.sets, abs, filepath.ToSlash(base), true)
	m.dirs[p] = d
	return d
}

// rootDir reads the files whose rules hold in the whole tree: the shared ones
// and the .gitignore of each directory from the repository's top to the root.
func (m *GitMatcher) rootDir() *gitDir {
	top := m.repo.Top
	if top == "" {
		return &gitDir{top: m.root, sets: m.with(m.shared(m.repo), m.root, "", true)}
	}
	d := &gitDir{top: top, sets: m.shared(m.repo)}
	rel, err := filepath.Rel(top, m.root)
	if err != nil || rel == "." {
		rel = ""
	}
	d.sets = m.with(d.sets, top, "", rel == "")
	at := ""
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		if part == "" {
			continue
		}
		at = path.Join(at, part)
		d.sets = m.with(d.sets, filepath.Join(top, filepath.FromSlash(at)), at, at == filepath.ToSlash(rel))
	}
	return d
}

// shared returns the sets of a repository that stand in no directory: global
// excludes, and stronger .git/info/exclude.
func (m *GitMatcher) shared(repo Repository) []*ruleset {
	var sets []*ruleset
	for _, file := range repo.Excludes {
		m.files[file] = stampOf(file)
		if set := readRules(file, ""); set != nil {
			sets = append(sets, set)
		}
	}
	return sets
}

// with appends the .gitignore of the directory abs to sets. watched says that
// the caller will Refresh when it changes.
func (m *GitMatcher) with(sets []*ruleset, abs, base string, watched bool) []*ruleset {
	file := filepath.Join(abs, ".gitignore")
	if !watched {
		m.files[file] = stampOf(file)
	}
	if base == "." {
		base = ""
	}
	set := readRules(file, base)
	if set == nil {
		return sets
	}
	return append(sets[:len(sets):len(sets)], set)
}

// maxRules bounds what is read of one file; git itself warns above 100 MB.
const maxRules = 16 << 20

// readRules returns nil when there is no such file. In a work tree git does not
// follow a link that is called .gitignore.
func readRules(file, base string) *ruleset {
	info, err := os.Lstat(file)
	if err != nil {
		return nil
	}
	if filepath.Base(file) == ".gitignore" && info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRules))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	set := parseRules(string(data), file, base)
	if len(set.rules) == 0 {
		return nil
	}
	return set
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{size: -1}
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}
