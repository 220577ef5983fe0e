package watch

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// A filter decides which paths are watched. In this order:
//
//  1. git's own directories and what editors write beside a file: never;
//  2. kdev.yaml's watch.ignore: never;
//  3. what git ignores, and what every build context that holds it leaves out:
//     not, unless it is named. A path is named by Options.Include, which holds
//     the sources of COPY: `COPY dist /app` needs dist although git ignores it.
//
// Naming lifts the rule that hits the named path or a directory above it, and a
// rule that means "everything in it" (`dist/*`). Other rules go on below:
// `COPY web /app` does not bring back web/node_modules. Directories on the way
// to a named path are watched as far as the way goes, and so are those that a
// negation of a .dockerignore can bring something back from (in git none can).
type filter struct {
	options Options
	include [][]string // patterns by component

	mu     sync.RWMutex
	git    *ignore.GitMatcher
	docker []dockerScope
}

type dockerScope struct {
	dir     string // relative to the root; "." for all
	context Context
	matcher *ignore.DockerMatcher
}

// A Verdict says whether a path is watched, and what decided it.
type Verdict struct {
	Path    string `json:"path"`
	Watched bool   `json:"watched"`
	By      string `json:"by"`             // "default", "built-in", "kdev.yaml", "git", "docker", "named" or "link"
	Rule    string `json:"rule,omitempty"` // as it stands in the file; for "built-in" and "link" the part of the path
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	OnWay   bool   `json:"onWay,omitempty"` // an ignored directory, watched for what it may hold
}

func newFilter(o Options) (*filter, error) {
	git, err := ignore.Git(o.Root, o.Ignore)
	if err != nil {
		return nil, err
	}
	f := &filter{options: o, git: git}
	for _, pattern := range o.Include {
		pattern = path.Clean("/" + filepath.ToSlash(pattern))[1:]
		parts := strings.Split(pattern, "/")
		if pattern == "" || strings.Trim(parts[0], "*") == "" {
			continue // `COPY . .` names nothing in particular
		}
		f.include = append(f.include, parts)
	}
	return f, f.loadDocker()
}

func (f *filter) loadDocker() error {
	var scopes []dockerScope
	for _, c := range f.options.Contexts {
		rel, err := filepath.Rel(f.options.Root, c.Dir)
		if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			continue // a context outside of the root
		}
		m, err := ignore.Docker(c.Dir, c.Dockerfile)
		if err != nil {
			return err
		}
		scopes = append(scopes, dockerScope{dir: filepath.ToSlash(rel), context: c, matcher: m})
	}
	f.mu.Lock()
	f.docker = scopes
	f.mu.Unlock()
	return nil
}

// drops reports whether p is not watched.
func (f *filter) drops(p string, isDir bool) bool { return !f.decide(p, isDir).Watched }

// decide says whether p is watched and why.
func (f *filter) decide(p string, isDir bool) Verdict {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if part := builtIn(p); part != "" {
		return Verdict{Path: p, By: "built-in", Rule: part}
	}
	v := f.git.Match(p, isDir)
	by, docker := "git", f.leftOut(p, isDir)
	if v.File == "kdev.yaml" {
		by = "kdev.yaml"
	}
	if v.Ignored {
		at, hit := f.names(p)
		switch {
		case by == "kdev.yaml" || !hit || at == "" && !isDir:
			return because(p, by, v)
		case at == "":
			return watched(because(p, by, v), true)
		}
		if rest := f.below(p, at, isDir); rest.Ignored {
			return because(p, by, rest)
		}
		by = "named"
	}
	switch {
	case docker.By != "":
		return docker
	case v.Rule != "":
		return watched(because(p, by, v), false)
	}
	return Verdict{Path: p, Watched: true, By: "default"}
}

func watched(v Verdict, onWay bool) Verdict {
	v.Watched, v.OnWay = true, onWay
	return v
}

func because(p, by string, v ignore.Verdict) Verdict {
	return Verdict{Path: p, By: by, Rule: v.Rule, File: v.File, Line: v.Line}
}

// names reports whether p is named: at is the part of p that an include pattern
// matches, or "" when p is a directory above what one may match.
func (f *filter) names(p string) (at string, hit bool) {
	parts := strings.Split(p, "/")
	for _, pattern := range f.include {
		n := min(len(parts), len(pattern))
		if !matchParts(pattern[:n], parts[:n]) {
			continue
		}
		hit = true
		if n == len(pattern) {
			if named := strings.Join(parts[:n], "/"); at == "" || len(named) > len(at) {
				at = named
			}
		}
	}
	return at, hit
}

func matchParts(pattern, parts []string) bool {
	for i := range pattern {
		if ok, err := path.Match(pattern[i], parts[i]); err != nil && pattern[i] != parts[i] || err == nil && !ok {
			return false
		}
	}
	return true
}

// below asks the rules that remain below a named path, one component at a time.
func (f *filter) below(p, at string, isDir bool) ignore.Verdict {
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		q := p[:i]
		v := f.git.Own(q, isDir || i < len(p))
		switch {
		case !v.Ignored:
		case v.File == "kdev.yaml":
			return v
		case len(q) <= len(at):
		case path.Dir(q) == at && takesAll(v.Rule):
		default:
			return v
		}
	}
	return ignore.Verdict{}
}

// takesAll reports whether a rule's last component takes any name.
func takesAll(rule string) bool {
	return strings.Trim(path.Base(strings.TrimSuffix(rule, "/")), "*") == ""
}

// leftOut is the verdict of the build contexts, with By "" when they say nothing.
func (f *filter) leftOut(p string, isDir bool) Verdict {
	var first Verdict
	for _, s := range f.docker {
		rel := p
		if s.dir != "." {
			var in bool
			if rel, in = strings.CutPrefix(p, s.dir+"/"); !in {
				continue
			}
		}
		v := s.matcher.Match(rel, isDir)
		if !v.Ignored || f.essential(p, s) {
			return Verdict{}
		}
		if isDir && s.matcher.MayReinclude(rel) {
			return watched(because(p, "docker", v), true)
		}
		switch at, hit := f.names(p); {
		case hit && at == "" && isDir:
			return watched(because(p, "docker", v), true)
		case hit && at != "" && s.hits(at, p, isDir):
			return watched(because(p, "named", v), false)
		}
		if first.By == "" {
			first = because(p, "docker", v)
		}
	}
	return first
}

// hits reports whether the rule that leaves p out does so from the named path
// on: at is p or a directory above it.
func (s dockerScope) hits(at, p string, isDir bool) bool {
	rel := at
	if s.dir != "." {
		var in bool
		if rel, in = strings.CutPrefix(at, s.dir+"/"); !in {
			return false // the name is that of a directory around the context
		}
	}
	return s.matcher.Match(rel, isDir || at != p).Ignored
}

// essential are the files that decide how a context is built; they are commonly
// left out of it.
func (f *filter) essential(p string, s dockerScope) bool {
	switch path.Base(p) {
	case "kdev.yaml", "kdev.local.yaml", ".dockerignore":
		return true
	}
	abs := filepath.Join(f.options.Root, filepath.FromSlash(p))
	return s.context.Dockerfile != "" && (abs == s.context.Dockerfile || abs == s.context.Dockerfile+".dockerignore")
}

// reload takes over new rules from p, a file that holds some, and returns the
// directory in which decisions may be others now.
func (f *filter) reload(p string) (dir string, err error) {
	switch path.Base(p) {
	case ".gitignore", ".git":
		f.git.Refresh(path.Dir(p))
		return path.Dir(p), nil
	}
	return path.Dir(p), f.loadDocker()
}

// builtIn returns the component of p that is never watched, or "".
func builtIn(p string) string {
	for p != "" {
		var part string
		part, p, _ = strings.Cut(p, "/")
		if part == ".git" || temporary(part) {
			return part
		}
	}
	return ""
}

// temporary knows the files that editors put beside the one that they save:
// vim (4913, .x.swp, x~), emacs (.#x, #x#, x~), JetBrains, GLib.
func temporary(name string) bool {
	switch {
	case name == "4913",
		strings.HasSuffix(name, "~"),
		strings.HasPrefix(name, ".#"),
		len(name) > 2 && name[0] == '#' && name[len(name)-1] == '#',
		strings.HasSuffix(name, "___jb_tmp___"), strings.HasSuffix(name, "___jb_old___"),
		strings.HasPrefix(name, ".goutputstream-"):
		return true
	}
	ext := path.Ext(name)
	return name[0] == '.' && len(ext) == 4 && strings.HasPrefix(ext, ".sw") && ext[3] >= 'a' && ext[3] <= 'z' && len(name) > len(ext)
}

// Explain says whether a watcher with these options watches path, and which
// rule decides. isDir matters when nothing is there.
func Explain(o Options, p string, isDir bool) (Verdict, error) {
	abs, err := filepath.Abs(o.Root)
	if err != nil {
		return Verdict{}, err
	}
	o.Root = abs
	f, err := newFilter(o)
	if err != nil {
		return Verdict{}, err
	}
	p = path.Clean(p)
	if v := f.decide(p, isDir); !v.Watched {
		return v, nil
	}
	for i, c := range p {
		if c != '/' {
			continue
		}
		if info, err := os.Lstat(filepath.Join(abs, filepath.FromSlash(p[:i]))); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return Verdict{Path: p, By: "link", Rule: p[:i]}, nil
		}
	}
	return f.decide(p, isDir), nil
}
