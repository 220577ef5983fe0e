package dockerfile

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// An Action is what a saved file asks for.
type Action int

const (
	Nothing Action = iota // no instruction that the image depends on reads it
	Sync                  // it can be written to Dests in the running containers
	Rebuild               // the image has to be built again
)

func (a Action) String() string { return [...]string{"nothing", "sync", "rebuild"}[a] }

// A Verdict says what a saved file means, and the line that decides.
type Verdict struct {
	Action Action
	Dests  []string               // of Sync: absolute container paths, sorted
	Modes  map[string]fs.FileMode // of Dests: what --chmod says of a file there, in octal
	File   string                 // the Dockerfile, or the file with the ignore rule, as people know it
	Line   int
	Why    string // "COPY puts it at /app/server.js", "RUN npm ci uses it"
}

// Explain says what a change of path, relative to the context, asks for. It
// looks at the context as it is now: what path is, and what else is there.
func (p *Plan) Explain(file string) Verdict {
	file = path.Clean(file)
	k := p.kindOf(file)
	if v, ok := p.recipe(file); ok {
		return v
	}
	if v := p.ignore.Match(file, k == isDirectory); v.Ignored {
		return Verdict{File: displayName(p.opts.Context, v.File), Line: v.Line, Why: "the build does not see it: " + v.Rule}
	}
	return p.verdict(file, k, p.trace(p.target, file, k))
}

func (p *Plan) verdict(file string, k kind, t trace) Verdict {
	if t.used != nil {
		if k == isDirectory {
			return Verdict{File: p.file, Line: t.used.line, Why: "a directory by itself changes no image"}
		}
		return Verdict{Action: Rebuild, File: p.file, Line: t.used.line, Why: t.used.why}
	}
	if len(t.places) == 0 {
		return Verdict{File: p.file, Why: "no instruction reads it"}
	}
	v := Verdict{Action: Sync, File: p.file}
	chain := p.chain(p.target)
	var hidden *copyStep
	for _, pl := range t.places {
		if k != isDirectory {
			if by := p.provider(chain[pl.order:], pl.path, file); by != nil {
				hidden = by
				continue
			}
			if by := p.covered(t, chain, pl); by != nil {
				return Verdict{Action: Rebuild, File: p.file, Line: by.line, Why: by.verb + " --from may put another file at " + pl.path}
			}
			if k == isGone && p.provider(chain[:pl.order-1], pl.path, file) != nil {
				return Verdict{Action: Rebuild, File: p.file, Line: pl.step.line, Why: "without it " + pl.path + " comes from an earlier line"}
			}
		}
		v.Dests = append(v.Dests, pl.path)
		delete(v.Modes, pl.path) // the last line counts
		if mode, ok := modeBits(pl.mode); ok && k != isDirectory {
			if v.Modes == nil {
				v.Modes = map[string]fs.FileMode{}
			}
			v.Modes[pl.path] = mode
		}
		v.Line, v.Why = pl.step.line, pl.step.verb+" puts it at "+pl.path
	}
	if len(v.Dests) == 0 {
		return Verdict{File: p.file, Line: hidden.line, Why: "another file takes its place in the image"}
	}
	slices.Sort(v.Dests)
	v.Dests = slices.Compact(v.Dests)
	return v
}

// recipe answers for the files that say how to build.
func (p *Plan) recipe(file string) (Verdict, bool) {
	abs := filepath.Join(p.opts.Context, filepath.FromSlash(file))
	switch abs {
	case p.opts.Dockerfile:
		return Verdict{Action: Rebuild, File: p.file, Why: "it is the Dockerfile"}, true
	case p.opts.Dockerfile + ".dockerignore", filepath.Join(p.opts.Context, ".dockerignore"):
		return Verdict{Action: Rebuild, File: file, Why: "it says what the build sees"}, true
	}
	return Verdict{}, false
}

// kind is what a path of the context is now.
type kind int

const (
	isFile kind = iota // or a symbolic link
	isDirectory
	isGone
)

func (p *Plan) kindOf(file string) kind {
	info, err := os.Lstat(filepath.Join(p.opts.Context, filepath.FromSlash(file)))
	switch {
	case err != nil:
		return isGone
	case info.IsDir():
		return isDirectory
	}
	return isFile
}

// A trace is the way of one file of the context through a stage.
type trace struct {
	places []placed // where the stage has it
	used   *use     // why it is no mere copy any more
	order  int      // lines so far, the base stages' included
}

type placed struct {
	path  string
	order int
	step  *copyStep
	mode  string
	owner string
}

type use struct {
	line int
	why  string
}

func (p *Plan) trace(i int, file string, k kind) trace {
	s := p.stages[i]
	var t trace
	if s.base >= 0 {
		t = p.trace(s.base, file, k)
	}
	for _, st := range s.steps {
		if t.used != nil {
			return t
		}
		t.order++
		switch st := st.(type) {
		case *copyStep:
			p.traceCopy(&t, st, file, k)
		case *runStep:
			p.traceRun(&t, st, file, k)
		}
	}
	return t
}

func (p *Plan) traceCopy(t *trace, st *copyStep, file string, k kind) {
	switch st.from {
	case fromImage:
		return
	case fromContext:
		for _, src := range st.sources {
			if src.isLink(file) {
				t.used = &use{st.line, st.verb + " follows this link"}
				return
			}
			if k == isGone && !src.glob() && src.path() == file {
				t.used = &use{st.line, st.verb + " names it, and it does not exist"}
				return
			}
		}
		t.add(st, placed{path: file}, k)
		if st.unpack && t.used == nil && len(t.places) > 0 && t.places[len(t.places)-1].step == st && p.isArchive(file, k) {
			t.used = &use{st.line, "ADD unpacks it"}
		}
	default:
		sub := p.trace(st.from, file, k)
		if sub.used != nil {
			t.used = sub.used
			return
		}
		for _, pl := range sub.places {
			t.add(st, pl, k)
		}
	}
}

// add notes where st puts what is at from.
func (t *trace) add(st *copyStep, from placed, k kind) {
	for _, src := range st.sources {
		dest, ok, doubt := st.dests(src, strings.TrimPrefix(from.path, "/"), k)
		if !ok {
			continue
		}
		if doubt != "" {
			t.used = &use{st.line, doubt}
			return
		}
		pl := placed{path: dest, order: t.order, step: st, mode: st.mode, owner: st.owner}
		if pl.mode == "" {
			pl.mode = from.mode
		}
		t.places = append(t.places, pl)
	}
}

func (p *Plan) traceRun(t *trace, st *runStep, file string, k kind) {
	because := &use{st.line, "RUN " + st.text + " uses it"}
	for _, m := range st.mounts {
		switch {
		case m.from == fromContext:
			if _, ok := m.source.match(file); ok {
				t.used = because
				return
			}
		case m.from >= 0:
			sub := p.trace(m.from, file, k)
			if t.used = sub.used; t.used != nil {
				return
			}
			for _, pl := range sub.places {
				if _, ok := m.source.match(strings.TrimPrefix(pl.path, "/")); ok {
					t.used = because
					return
				}
			}
		}
	}
	if len(t.places) == 0 {
		return
	}
	if st.reads != "" {
		t.used = &use{st.line, "RUN " + st.reads + " uses it"}
		return
	}
	for _, pl := range t.places {
		for _, prefix := range st.touches {
			if pl.path == prefix || strings.HasPrefix(pl.path, strings.TrimSuffix(prefix, "/")+"/") {
				t.used = &use{st.line, "RUN " + st.text + " changes it"}
				return
			}
		}
	}
}

// dests says where the step puts p (relative to the root that src is taken
// from), or why that cannot be known.
func (c *copyStep) dests(src source, p string, k kind) (dest string, ok bool, doubt string) {
	rest, ok := src.match(p)
	if !ok {
		return "", false, ""
	}
	if c.excluded(rest, p) {
		return "", false, ""
	}
	if c.unclear != "" {
		return "", true, c.unclear
	}
	switch {
	case src.parents != nil:
		parts := components(p)
		return path.Join(c.dest, path.Join(parts[min(src.pivot, len(parts)):]...)), true, ""
	case rest != "":
		return path.Join(c.dest, rest), true, ""
	case k == isDirectory || p == ".":
		return c.dest, true, ""
	case c.destDir:
		return path.Join(c.dest, path.Base(p)), true, ""
	case c.scratch || namesFile(c.dest, p):
		return c.dest, true, ""
	}
	return "", true, fmt.Sprintf("whether %s is a file or a directory is known to the base image alone: end it with / if it is a directory", c.dest)
}

func (c *copyStep) excluded(rest, p string) bool {
	if c.excludes == nil {
		return false
	}
	if rest == "" {
		rest = path.Base(p)
	}
	hit, err := c.excludes.MatchesOrParentMatches(filepath.FromSlash(rest))
	return err == nil && hit
}

// namesFile says whether dest, without a slash at its end, is the new name of
// the file p and no directory of the base image, as far as names can tell.
func namesFile(dest, p string) bool {
	if path.Base(dest) == path.Base(p) {
		return true
	}
	if ext := path.Ext(dest); ext != "" && ext != ".d" {
		return true
	}
	switch path.Base(path.Dir(dest)) {
	case "/", "bin", "sbin", "libexec":
		return true
	}
	return false
}

// chain lists the steps that made stage i, in order.
func (p *Plan) chain(i int) []step {
	s := p.stages[i]
	if s.base < 0 {
		return s.steps
	}
	return slices.Concat(p.chain(s.base), s.steps)
}

// provider finds the last of the steps that puts something else than file at
// dest.
func (p *Plan) provider(steps []step, dest, file string) *copyStep {
	for _, st := range slices.Backward(steps) {
		if c, ok := st.(*copyStep); ok && p.provides(c, dest, file) {
			return c
		}
	}
	return nil
}

func (p *Plan) provides(c *copyStep, dest, file string) bool {
	if slices.Contains(c.writes, dest) {
		return true
	}
	if c.unclear != "" || dest != c.dest && !strings.HasPrefix(dest, strings.TrimSuffix(c.dest, "/")+"/") {
		return false
	}
	for _, src := range c.sources {
		switch {
		case src.parents != nil:
		case c.from != fromContext:
			if !src.glob() && len(src.parts) > 0 && (dest == c.dest || c.destDir && dest == path.Join(c.dest, path.Base(src.path()))) {
				return true
			}
		default:
			for _, from := range p.expand(src) {
				other := from
				if p.kindOf(from) == isDirectory {
					other = path.Join(from, strings.TrimPrefix(strings.TrimPrefix(dest, c.dest), "/"))
				}
				k := p.kindOf(other)
				if other == file || k != isFile || p.ignore.Match(other, false).Ignored {
					continue
				}
				if to, ok, doubt := c.dests(src, other, k); ok && doubt == "" && to == dest {
					return true
				}
			}
		}
	}
	return false
}

// covered finds a later COPY --from that may put something else in the place of
// a file, unless the file is known to come there by that line too.
func (p *Plan) covered(t trace, chain []step, pl placed) *copyStep {
	for i, st := range slices.Backward(chain[pl.order:]) {
		c, ok := st.(*copyStep)
		if !ok || !c.mayProvide(pl.path) {
			continue
		}
		order := pl.order + i + 1
		if !slices.ContainsFunc(t.places, func(other placed) bool { return other.path == pl.path && other.order >= order }) {
			return c
		}
	}
	return nil
}

// mayProvide says whether a COPY --from may put a file at a path below its
// destination. What lies in the folders of a stage that was built, or of
// another image, no Dockerfile tells.
func (c *copyStep) mayProvide(dest string) bool {
	if c.from == fromContext || c.unclear != "" {
		return false
	}
	rest, below := strings.CutPrefix(dest, strings.TrimSuffix(c.dest, "/")+"/")
	if !below || c.excluded(rest, dest) {
		return false
	}
	return slices.ContainsFunc(c.sources, func(src source) bool {
		if src.parents != nil || !likelyFile(src.path()) {
			return true
		}
		hit, err := path.Match(path.Base(src.path()), rest)
		return hit && err == nil
	})
}

// likelyFile says whether a path of an image is that of a file, as far as names
// can tell: it has an extension (python3.12 has none), or is a program.
func likelyFile(p string) bool {
	if ext := path.Ext(p); len(ext) > 1 && ext != ".d" && (ext[1] < '0' || ext[1] > '9') {
		return true
	}
	switch "/" + path.Dir(p) {
	case "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec":
		return true
	}
	return false
}

// expand lists what a source of the context names now.
func (p *Plan) expand(src source) []string {
	if !src.glob() {
		return []string{src.path()}
	}
	found, err := fs.Glob(os.DirFS(p.opts.Context), src.path())
	if err != nil {
		return nil
	}
	return found
}

// isArchive says whether ADD would unpack the file: BuildKit looks at the content.
func (p *Plan) isArchive(file string, k kind) bool {
	switch k {
	case isDirectory:
		return false
	case isGone:
		return strings.Contains(path.Base(file), ".t") || strings.HasSuffix(file, ".gz")
	}
	f, err := os.Open(filepath.Join(p.opts.Context, filepath.FromSlash(file)))
	if err != nil {
		return false
	}
	defer f.Close()
	var head [512]byte
	n, _ := f.Read(head[:])
	for _, magic := range archiveMagic {
		if end := magic.at + len(magic.bytes); end <= n && string(head[magic.at:end]) == magic.bytes {
			return true
		}
	}
	return false
}

var archiveMagic = []struct {
	at    int
	bytes string
}{
	{0, "\x1f\x8b"}, {0, "BZh"}, {0, "\xfd7zXZ\x00"}, {0, "\x28\xb5\x2f\xfd"}, {257, "ustar"},
}
