package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// A fakeEngine has one base image; what it "runs" is a layer that names the run.
type fakeEngine struct {
	t      testing.TB
	store  *registry.Store
	base   string // manifest
	id     string
	solved int
	taken  int
	pulls  bool
	again  bool // Take pushes the base as an engine does: what the store lacks

	version Version
	solves  []Solve
	offers  []string // manifests
}

func (e *fakeEngine) Pulls() bool { return e.pulls }

func (e *fakeEngine) ImageID(context.Context, string) string { return e.id }

func (e *fakeEngine) ImageConfig(_ context.Context, ref, _ string) ([]byte, error) {
	if !strings.Contains(ref, "base") {
		return nil, errors.New("no such image: " + ref)
	}
	return []byte(`{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]},"history":[{"created_by":"base"}]}`), nil
}

func (e *fakeEngine) Take(context.Context, string, string, string, string) (string, error) {
	e.taken++
	if e.again {
		putImage(e.t, e.store, "mirror/docker.io/library/base", e.baseTar())
	}
	return e.base, nil
}

func (e *fakeEngine) Solve(_ context.Context, s Solve) (string, error) {
	e.solved++
	e.solves = append(e.solves, s)
	return putImage(e.t, e.store, "kdev/steps/x", e.baseTar(), tarOf(e.t, "made/", "", "made/by-run", fmt.Sprint(len(s.Definition.Def)))), nil
}

func (e *fakeEngine) Version(context.Context) (Version, error) { return e.version, nil }

func (e *fakeEngine) Offer(_ context.Context, repo string, manifest []byte) (Given, error) {
	d, err := e.store.PutManifest(repo, "", layout.OCIManifest, manifest)
	e.offers = append(e.offers, string(d))
	return Given{Digest: string(d), Ref: "registry.test/" + repo + "@" + string(d)}, err
}

func (e *fakeEngine) baseTar() []byte {
	return tarOf(e.t, "etc/", "", "etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:11:12::/:/bin/sh\n", "bin", "-> usr/bin", "usr/", "", "usr/bin/", "")
}

func newEngine(t testing.TB, store *registry.Store) *fakeEngine {
	e := &fakeEngine{t: t, store: store, id: "sha256:1"}
	e.base = putImage(t, store, "mirror/docker.io/library/base", e.baseTar())
	return e
}

// tarOf makes a layer of pairs of name and content; "-> x" is a link.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(files[i+1]))}
		switch {
		case strings.HasSuffix(files[i], "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case strings.HasPrefix(files[i+1], "-> "):
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, files[i+1][3:], 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(files[i+1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func putImage(t testing.TB, store *registry.Store, repo string, layers ...[]byte) string {
	t.Helper()
	m := layout.Manifest{SchemaVersion: 2, MediaType: layout.OCIManifest}
	var ids []layout.Digest
	for _, l := range layers {
		d, err := store.PutBlob(l)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d)
		m.Layers = append(m.Layers, layout.Descriptor{MediaType: layerType, Digest: d, Size: int64(len(l))})
	}
	config, err := json.Marshal(map[string]any{"os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.PutBlob(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Config = &layout.Descriptor{MediaType: configType, Digest: d, Size: int64(len(config))}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	md, err := store.PutManifest(repo, "", layout.OCIManifest, raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(md)
}

type project struct {
	t     testing.TB
	trees Trees
	dir   string
	index *tree.Index
	store *registry.Store
}

func newProject(t testing.TB, store *registry.Store, files ...string) *project {
	t.Helper()
	p := &project{t: t, dir: t.TempDir(), store: store}
	p.write(files...)
	var err error
	if p.index, err = tree.Open(p.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.index.Close() })
	return p
}

func (p *project) write(files ...string) {
	p.t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(p.dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *project) make(e Engine) (*Result, error) { p.t.Helper(); return p.makeWith(e, nil) }

func (p *project) makeWith(e Engine, args map[string]string) (*Result, error) {
	p.t.Helper()
	file := filepath.Join(p.dir, "Dockerfile")
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := ignore.Docker(p.dir, file)
	if err != nil {
		p.t.Fatal(err)
	}
	return Make(context.Background(), p.store, e, Request{
		Name: "Dockerfile", Text: text, Args: args, Platform: "linux/amd64", Repository: "kdev/steps/x",
		Folder: p.dir, Index: p.index, Dir: ".", Ignore: m, Trees: &p.trees,
	}, nil)
}

func newStore(t testing.TB) *registry.Store {
	t.Helper()
	s, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const withRun = `FROM base
WORKDIR /app
COPY package.json .
RUN npm ci
COPY . .
CMD ["node", "x.js"]
`

func TestEditsAfterTheLastRunNeedNoEngine(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	p := newProject(t, store, "Dockerfile", withRun, "package.json", "{}", "x.js", "1", ".dockerignore", "skipped\n", "skipped", "1")
	must := func(e Engine) *Result {
		t.Helper()
		r, err := p.make(e)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := must(e)
	if e.solved != 1 || !first.Engine || first.Rung != "assembled on layers of the engine" || first.Why != "Dockerfile:4 needs an engine: RUN npm ci" {
		t.Fatalf("%+v after %d solves", first, e.solved)
	}
	for _, s := range []struct {
		name   string
		files  []string
		solves int
		same   bool
	}{
		{"nothing", nil, 0, true},
		{"a source", []string{"x.js", "2"}, 0, false},
		{"back", []string{"x.js", "1"}, 0, true},
		{"an ignored file", []string{"skipped", "2"}, 0, true},
		{"a comment", []string{"Dockerfile", "# why\n" + withRun}, 0, false}, // the Dockerfile itself is COPYed
		{"a later line", []string{"Dockerfile", strings.Replace(withRun, "x.js", "y.js", 1)}, 0, false},
		{"what the run read", []string{"Dockerfile", withRun, "package.json", `{"a":1}`}, 1, false},
		{"the run itself", []string{"Dockerfile", strings.Replace(withRun, "npm ci", "npm i", 1)}, 1, false},
		{"a variable before it", []string{"Dockerfile", strings.Replace(withRun, "RUN", "ENV A=1\nRUN", 1)}, 1, false},
		{"all back", []string{"Dockerfile", withRun, "package.json", "{}"}, 0, true},
	} {
		before := e.solved
		p.write(s.files...)
		r := must(e)
		if got := e.solved - before; got != s.solves {
			t.Errorf("%s: %d solves, want %d", s.name, got, s.solves)
		}
		if same := r.Digest == first.Digest; same != s.same {
			t.Errorf("%s: same digest is %v", s.name, same)
		}
	}
	// No engine on the machine any more.
	p.write("x.js", "3")
	if r := must(nil); r.Layers != 1 {
		t.Errorf("%+v", r)
	}
	p.write("package.json", "changed")
	_, err := p.make(nil)
	if pr := problem.As(err); pr == nil || pr.Code != "engine-needed" || pr.Where != "Dockerfile:4" {
		t.Errorf("without an engine: %v", err)
	}
}

func TestDigestsFollowContentOnly(t *testing.T) {
	const dockerfile = "FROM base\nCOPY --chown=app . /app\nENV A=1\n"
	files := []string{"Dockerfile", dockerfile, "a/b.txt", "1", "a/c.txt", "2"}
	digest := ""
	for range 3 {
		store := newStore(t)
		e := newEngine(t, store)
		p := newProject(t, store, files...)
		for i := range 35 {
			// Times differ, and the order in which files were made.
			if i%5 == 0 {
				p.write(files...)
				when := time.Unix(int64(1_000_000*i), 0)
				if err := os.Chtimes(filepath.Join(p.dir, "a/b.txt"), when, when); err != nil {
					t.Fatal(err)
				}
			}
			r, err := p.make(e)
			if err != nil {
				t.Fatal(err)
			}
			if digest == "" {
				digest = r.Digest
			}
			if r.Digest != digest {
				t.Fatalf("run %d gives %s, want %s", i, r.Digest, digest)
			}
		}
	}
}

func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	p := newProject(t, store, "Dockerfile", "FROM base\nCOPY a.txt /\n", "a.txt", "one")
	a := &assembly{ctx: t.Context(), store: store, req: Request{Index: p.index, Dir: "."}}
	changes := []change{{path: "a.txt", node: &node{Mode: 0o644, Size: 3, Content: content{Context: "a.txt"}}, digest: strings.Repeat("0", 64)}}
	_, err := a.write(changes)
	var changed *changedError
	if !errors.As(err, &changed) {
		t.Errorf("another content: %v", err)
	}
	p.write("a.txt", "on")
	if _, err = a.write(changes); !errors.As(err, &changed) {
		t.Errorf("a shorter file: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(store.Dir(), "uploads")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if _, err := p.make(e); err != nil {
		t.Error(err)
	}
}

func TestANewBaseIsNoticed(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	p := newProject(t, store, "Dockerfile", withRun, "package.json", "{}")
	if _, err := p.make(e); err != nil {
		t.Fatal(err)
	}
	// Another image of the same name and configuration is the same base.
	e.id = "sha256:2"
	if _, err := p.make(e); err != nil || e.solved != 1 {
		t.Errorf("%d solves, %v", e.solved, err)
	}
	// An engine that is away says nothing about the base.
	e.id = ""
	if _, err := p.make(e); err != nil || e.solved != 1 {
		t.Errorf("%d solves, %v", e.solved, err)
	}
}

func TestUnsupported(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	for name, c := range map[string]struct {
		dockerfile string
		line       int
	}{
		"run last":         {"FROM base\nCOPY a.txt /\nRUN true\n", 3},
		"foreign frontend": {"# syntax=example.com/frontend\nFROM base\n", 1},
		"copy from a run":  {"FROM base AS b\nRUN true\nFROM base\nCOPY --from=b /x /\n", 4},
		"add of a url":     {"FROM base\nADD http://127.0.0.1:9/x /\n", 2},
		"add of git":       {"FROM base\nADD https://github.com/a/b.git#main /\n", 2},
	} {
		p := newProject(t, store, "Dockerfile", c.dockerfile, "a.txt", "1")
		_, err := p.make(e)
		u, ok := IsUnsupported(err)
		if !ok || u.Line != c.line {
			t.Errorf("%s: %v %+v, want line %d", name, err, u, c.line)
		}
	}
}

func TestProblemsHaveALine(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	for dockerfile, where := range map[string]string{
		"FROM base\nCOPY nothere /\n":                  "Dockerfile:2",
		"FROM base\n\nCOPPY a /\n":                     "Dockerfile:3",
		"FROM base\nFROM nosuch\n":                     "Dockerfile:2",
		"FROM base\nCOPY a.txt /x\nCOPY a.txt /x/y/\n": "Dockerfile:3",
		"FROM base\nCOPY --chmod=xyz a.txt /\n":        "Dockerfile:2",
	} {
		p := newProject(t, store, "Dockerfile", dockerfile, "a.txt", "1")
		_, err := p.make(e)
		pr := problem.As(err)
		if pr == nil || pr.Code != "build-failed" || pr.Where != where {
			t.Errorf("%q: %v, want %s", dockerfile, err, where)
			continue
		}
		if strings.Contains(dockerfile, "/x/y/") && strings.Contains(pr.Hint, ".dockerignore") {
			t.Errorf("%q: %+v", dockerfile, pr)
		}
		if strings.Contains(dockerfile, "nosuch") && (!strings.Contains(pr.Summary, "docker.io/library/nosuch:latest") || pr.Hint == "") {
			t.Errorf("%q: %+v", dockerfile, pr)
		}
	}
}

func FuzzListing(f *testing.F) {
	f.Add(encodeListing(&listing{Layer: "sha256:x", Entries: []entry{{Path: "a", node: node{Mode: 0o755, Xattrs: map[string]string{"k": "v"}}, Hard: "b"}}, Small: map[string][]byte{"etc/passwd": []byte("x")}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := decodeListing(raw)
		if err != nil {
			return
		}
		again, err := decodeListing(encodeListing(l))
		if err != nil || len(again.Entries) != len(l.Entries) || again.Layer != l.Layer {
			t.Errorf("%+v became %+v, %v", l, again, err)
		}
	})
}

// BenchmarkEdit is one edit of a source after the last RUN, on a base of 8,000
// files with 300 files of source; BenchmarkEditCold in a process that has just
// begun.
func BenchmarkEdit(b *testing.B)     { benchmarkEdit(b, false) }
func BenchmarkEditCold(b *testing.B) { benchmarkEdit(b, true) }

func benchmarkEdit(b *testing.B, cold bool) {
	store := newStore(b)
	e := newEngine(b, store)
	var files []string
	for i := range 8000 {
		if i%20 == 0 {
			files = append(files, fmt.Sprintf("usr/lib/d%d/", i/20), "")
		}
		files = append(files, fmt.Sprintf("usr/lib/d%d/file-%d.so", i/20, i), "content")
	}
	e.base = putImage(b, store, "mirror/docker.io/library/base", tarOf(b, files...))
	p := newProject(b, store, "Dockerfile", "FROM base\nWORKDIR /app\nCOPY . .\n")
	for i := range 300 {
		p.write(fmt.Sprintf("src/m%d/f%d.js", i/10, i), strings.Repeat("x", 2000))
	}
	if _, err := p.make(e); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if cold {
			p.trees = Trees{}
		}
		p.write("src/m1/f11.js", fmt.Sprint(i))
		if _, err := p.make(e); err != nil {
			b.Fatal(err)
		}
	}
}

// Who pulls as this process would is asked where this process cannot.
func TestBaseThatOnlyTheOtherCanPull(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	e.pulls, e.id = true, ""
	p := newProject(t, store, "Dockerfile", "FROM 127.0.0.1:1/base:1\nCOPY a /\n", "a", "1")
	if _, err := p.make(e); err != nil || e.taken != 1 || e.solved != 0 {
		t.Errorf("taken %d times, %d solves: %v", e.taken, e.solved, err)
	}
	e.pulls = false
	p.write("Dockerfile", "FROM 127.0.0.1:1/base:2\nCOPY a /\n")
	if _, err := p.make(e); err == nil || e.taken != 1 {
		t.Errorf("an engine is asked for an image that it does not hold: %v", err)
	}
	e.pulls = true
	p.write("Dockerfile", "FROM 127.0.0.1:1/none:1\nCOPY a /\n")
	_, err := p.make(e)
	why := problem.As(err)
	if why == nil || !strings.Contains(why.Error(), "connection refused; the engine: no such image") || !strings.Contains(why.Hint, "from here or by the engine") {
		t.Errorf("%+v", why)
	}
}
