package build

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

func newStore(t *testing.T) (*registry.Store, *registry.Endpoint) {
	t.Helper()
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store, &registry.Endpoint{Host: "localhost:5001", PushHost: "127.0.0.1:5001", Shared: true}
}

// project writes files, a pair of name and content each.
func project(t *testing.T, files ...string) (string, *tree.Index) {
	t.Helper()
	root := t.TempDir()
	write(t, root, files...)
	idx, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { idx.Close() })
	return root, idx
}

func write(t *testing.T, root string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(root, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A fake stands for the engine: its image holds one layer with the text of
// the context's files, and it counts.
type fake struct {
	store  *registry.Store
	mu     sync.Mutex
	builds int
	during func()
}

func (f *fake) Build(_ context.Context, spec Spec, _ Progress) (*Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.builds++
	if f.during != nil {
		f.during()
	}
	content, err := os.ReadFile(filepath.Join(spec.Context, "main.py"))
	if err != nil {
		return nil, err
	}
	d, err := putImage(f.store, spec.Repository(), string(content))
	return &Result{Digest: d, Rung: "fake", Why: "a test"}, err
}

func putImage(store *registry.Store, repo, main string) (string, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name, content string
		uid           int
	}{
		{"etc/", "", 0}, {"etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:11:12::/:/bin/sh\n", 0},
		{"app/", "", 0}, {"app/own/", "", 11}, {"app/main.py", main, 0},
	} {
		h := &tar.Header{Name: f.name, Mode: 0o755, Uid: f.uid, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return "", err
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	content := buf.Bytes()
	l, err := store.PutBlob(content)
	if err != nil {
		return "", err
	}
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Entrypoint":["python"],"Cmd":["main.py"],"User":"app","WorkingDir":"/app","Env":["A=1"],"Labels":{"own":"x"},"Healthcheck":{"Test":["NONE"]}},"rootfs":{"type":"layers","diff_ids":[%q]},"history":[{"created_by":"COPY"}],"own.field":{"kept":true}}`, l)
	c, err := store.PutBlob([]byte(config))
	if err != nil {
		return "", err
	}
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","digest":%q,"size":%d}]}`,
		layout.DockerManifest, c, len(config), l, len(content))
	d, err := store.PutManifest(repo, "", layout.DockerManifest, []byte(raw))
	return string(d), err
}

const pythonDockerfile = "FROM python:3-slim\nWORKDIR /app\nCOPY *.py ./\nCMD [\"python\", \"main.py\"]\n"

func pythonSpec(root string) Spec {
	return Spec{Project: "shop", Service: "rng", Root: root, Context: root, Dockerfile: filepath.Join(root, "Dockerfile"), Platform: "linux/amd64"}
}

func testAgent(content string) agent {
	return agent{
		id:      func(context.Context, string, string) (string, error) { return content, nil },
		program: func(context.Context, string, string) ([]byte, error) { return []byte(content), nil },
	}
}

func TestCacheFollowsWhatTheBuildReads(t *testing.T) {
	store, ep := newStore(t)
	root, idx := project(t, "Dockerfile", pythonDockerfile, "main.py", "one", "README.md", "x", "util.py", "u")
	inner := &fake{store: store}
	b := cached(inner, store, ep, idx, nil)
	spec := pythonSpec(root)
	build := func(spec Spec) *Result {
		t.Helper()
		r, err := b.Build(t.Context(), spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := build(spec)
	steps := []struct {
		name   string
		change func(*Spec)
		builds int
	}{
		{"nothing", func(*Spec) {}, 0},
		{"a file that nobody reads", func(*Spec) { write(t, root, "README.md", "edited") }, 0},
		{"touched", func(*Spec) { write(t, root, "main.py", "one") }, 0},
		{"another service of the same content", func(s *Spec) { s.Service = "other" }, 0},
		{"a file that it reads", func(*Spec) { write(t, root, "util.py", "edited") }, 1},
		{"undone", func(*Spec) { write(t, root, "util.py", "u") }, 0},
		{"a new file", func(*Spec) { write(t, root, "new.py", "n") }, 1},
		{"an executable bit", func(*Spec) {
			if err := os.Chmod(filepath.Join(root, "util.py"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"an argument", func(s *Spec) { s.Args = map[string]string{"A": "1"} }, 1},
		{"a platform", func(s *Spec) { s.Platform = "linux/arm64" }, 1},
		{"ignored", func(*Spec) { write(t, root, ".dockerignore", "new.py\n") }, 1},
		{"the Dockerfile", func(*Spec) { write(t, root, "Dockerfile", pythonDockerfile+"EXPOSE 80\n") }, 1},
	}
	for _, s := range steps {
		spec := spec
		s.change(&spec)
		before := inner.builds
		r := build(spec)
		if got := inner.builds - before; got != s.builds {
			t.Errorf("%s: %d builds, want %d", s.name, got, s.builds)
		}
		if r.Cached != (s.builds == 0) {
			t.Errorf("%s: cached is %v", s.name, r.Cached)
		}
		if _, err := store.Resolve(spec.Repository(), registry.Short(r.Digest)); err != nil && r.Cached {
			t.Errorf("%s: %v", s.name, err)
		}
	}

	// A store that was cut short builds again, and is whole afterwards.
	if err := store.RemoveBlob(layout.Digest(first.Digest)); err != nil {
		t.Fatal(err)
	}
	write(t, root, "Dockerfile", pythonDockerfile)
	if err := os.Remove(filepath.Join(root, ".dockerignore")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "new.py")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "util.py"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := build(spec); r.Cached || r.Digest != first.Digest {
		t.Errorf("after the loss of a blob: %+v", r)
	}
	if r := build(spec); !r.Cached {
		t.Error("not repaired")
	}
}

func TestANewBaseBuildsAgain(t *testing.T) {
	store, ep := newStore(t)
	root, idx := project(t, "Dockerfile", pythonDockerfile, "main.py", "one")
	inner := &fake{store: store}
	id := "sha256:1"
	b := cached(inner, store, ep, idx, func(_ context.Context, ref string) string {
		if ref != "python:3-slim" {
			t.Errorf("asked for %q", ref)
		}
		return id
	})
	for _, step := range []struct {
		id     string
		builds int
	}{{"sha256:1", 1}, {"sha256:1", 1}, {"", 1}, {"sha256:2", 2}, {"sha256:2", 2}} {
		id = step.id
		r, err := b.Build(t.Context(), pythonSpec(root), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Record.Bases["python:3-slim"] != step.id {
			t.Errorf("engine says %q: the record has %v", step.id, r.Record.Bases)
		}
		if inner.builds != step.builds {
			t.Errorf("engine says %q: %d builds, want %d", step.id, inner.builds, step.builds)
		}
	}
}

// A Dockerfile that is saved during the build is not known to be that of the
// image, even where the build does not see it.
func TestADockerfileSavedDuringTheBuild(t *testing.T) {
	root, idx := project(t, "Dockerfile", pythonDockerfile, ".dockerignore", "Dockerfile\n", "main.py", "one")
	store, ep := newStore(t)
	spec := pythonSpec(root)
	was, err := OptionsHash(spec)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{store: store, during: func() { write(t, root, "Dockerfile", pythonDockerfile+"USER app\n") }}
	b := recorded(cached(f, store, ep, idx, nil), store, ep)
	if r := built(t, b, spec); r.Record.Options != was {
		t.Error("the record has the options of the Dockerfile that was saved meanwhile")
	}
	f.during = nil
	for _, text := range []string{pythonDockerfile, pythonDockerfile + "USER app\n"} {
		write(t, root, "Dockerfile", text)
		if r := built(t, b, spec); r.Cached {
			t.Errorf("the image is taken for that of %q", text)
		}
	}
}

// What ONBUILD of a pulled image reads is an input from the moment on in which
// that image was first seen: during the build that begins with it.
func TestOnBuildOfABase(t *testing.T) {
	root, idx := project(t, "Dockerfile", "FROM python:onbuild\nWORKDIR /app\n", "main.py", "one", "other", "x")
	store, ep := newStore(t)
	spec := pythonSpec(root)
	f := &fake{store: store, during: func() {
		config := `{"config":{"OnBuild":["COPY main.py /app/"]}}`
		about := `{"ref":"docker.io/library/python:onbuild","config":` + config + `}`
		sum := sha256.Sum256([]byte("docker.io/library/python:onbuild\x00linux/amd64"))
		if err := store.PutMeta("bases", hex.EncodeToString(sum[:]), []byte(about)); err != nil {
			t.Error(err)
		}
	}}
	b := knowing(cached(f, store, ep, idx, nil), store)
	for i, step := range []struct {
		edit   []string
		builds int
	}{
		{nil, 1},
		{nil, 2}, // what the first one was made from is not known for sure
		{nil, 2},
		{[]string{"main.py", "two"}, 3},
		{[]string{"other", "y"}, 3},
	} {
		write(t, root, step.edit...)
		r := built(t, b, spec)
		if f.builds != step.builds || len(r.Record.Inputs) != 2 || r.Record.Inputs[1].Path != "main.py" {
			t.Errorf("step %d: %d builds, inputs %+v", i, f.builds, r.Record.Inputs)
		}
	}
	recipe, err := Load(spec.Knowing(store))
	if err != nil {
		t.Fatal(err)
	}
	if v := recipe.Explain("main.py"); v.Action != dockerfile.Sync || v.Dests[0] != "/app/main.py" {
		t.Errorf("%+v", v)
	}
}

func TestAFileSavedDuringTheBuildIsUnknown(t *testing.T) {
	store, ep := newStore(t)
	root, idx := project(t, "Dockerfile", pythonDockerfile, "main.py", "one", "util.py", "u")
	inner := &fake{store: store, during: func() { write(t, root, "util.py", "edited", "late.py", "l") }}
	b := cached(inner, store, ep, idx, nil)
	r, err := b.Build(t.Context(), pythonSpec(root), nil)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, in := range r.Record.Inputs {
		if in.Mode.IsRegular() {
			known[in.Path] = in.Digest != ""
		}
	}
	for path, want := range map[string]bool{"main.py": true, "util.py": false, "late.py": false} {
		if got, ok := known[path]; !ok || got != want {
			t.Errorf("%s: known %v (listed %v), want %v", path, got, ok, want)
		}
	}
	inner.during = nil
	if r, err := b.Build(t.Context(), pythonSpec(root), nil); err != nil || r.Cached {
		t.Errorf("an unsteady build was remembered: %+v %v", r, err)
	}
}

func TestDevImage(t *testing.T) {
	store, ep := newStore(t)
	root, idx := project(t, "Dockerfile", pythonDockerfile, "main.py", "one")
	inner := &fake{store: store}
	builder := func(a agent) Builder {
		return &devBuilder{inner: cached(inner, store, ep, idx, nil), store: store, ep: ep, idx: idx, agent: a}
	}
	spec := pythonSpec(root)
	build := func(b Builder, dev bool) *Result {
		t.Helper()
		spec.Dev = dev
		r, err := b.Build(t.Context(), spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a := builder(testAgent("one"))
	production := build(a, false)
	one := build(a, true)
	if one.Digest == production.Digest {
		t.Error("the dev image is the production image")
	}
	for range 100 {
		if again := build(a, true); again.Digest != one.Digest {
			t.Fatal("the dev digest changes from run to run")
		}
	}
	if again := build(a, false); again.Digest != production.Digest {
		t.Error("the production digest depends on the dev image")
	}
	two := build(builder(testAgent("two")), true)
	if two.Digest == one.Digest {
		t.Error("another agent has the same digest")
	}
	if inner.builds != 1 {
		t.Errorf("%d builds, want 1", inner.builds)
	}

	img, err := store.Image(spec.Repository(), one.Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 3 || len(c.RootFS.DiffIDs) != 3 || len(c.History) != 3 {
		t.Fatalf("%d layers, %d diff IDs, %d lines of history", len(m.Layers), len(c.RootFS.DiffIDs), len(c.History))
	}
	if m.Layers[0].Digest != c.RootFS.DiffIDs[0] || m.Layers[0].MediaType != ociLayer {
		t.Errorf("the agent's layer is %+v", m.Layers[0])
	}
	// The image runs as app, and COPY leaves /app to root.
	r, err := store.OpenBlob(layout.Digest(m.Layers[2].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var folders []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, fmt.Sprintf("%s %o %d:%d", h.Name, h.Mode, h.Uid, h.Gid))
	}
	if !slices.Equal(folders, []string{"app/ 755 11:12"}) {
		t.Errorf("the layer on top has %q", folders)
	}
	if !slices.Equal(c.Config.Entrypoint, []string{Agent, "run", "--", "python"}) || !slices.Equal(c.Config.Cmd, []string{"main.py"}) {
		t.Errorf("starts with %q %q", c.Config.Entrypoint, c.Config.Cmd)
	}
	if c.Config.Labels[AgentLabel] != "one" || c.Config.Labels["own"] != "x" || c.Config.User != "app" || c.Config.Healthcheck == nil {
		t.Errorf("configuration %+v", c.Config)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil || string(top["own.field"]) != `{"kept":true}` {
		t.Errorf("an unknown field became %s", top["own.field"])
	}
	if one.Record.Config.WorkingDir != "/app" || !slices.Equal(one.Record.Config.Entrypoint, []string{"python"}) {
		t.Errorf("the record's configuration is %+v", one.Record.Config)
	}

	// What a node pulls.
	server := httptest.NewServer(registry.Handler(store, registry.HandlerOptions{}))
	defer server.Close()
	for _, l := range m.Layers {
		resp, err := server.Client().Head(server.URL + "/v2/" + spec.Repository() + "/blobs/" + l.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.ContentLength != l.Size {
			t.Errorf("layer %s: %s, %d bytes, want %d", l.Digest, resp.Status, resp.ContentLength, l.Size)
		}
	}
}

func TestDevImageWithoutEntrypoint(t *testing.T) {
	store, ep := newStore(t)
	b := &devBuilder{store: store, ep: ep, agent: testAgent("x")}
	config, err := store.PutBlob([]byte(`{"os":"linux","config":{"Cmd":["sh"],"Labels":null,"Entrypoint":null},"rootfs":{"type":"layers","diff_ids":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	raw := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":1}}`, config)
	d, err := store.PutManifest("a", "", layout.OCIManifest, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openImage(store, string(d))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := b.derive(t.Context(), Spec{Project: "p", Service: "s", Platform: "linux/amd64"}, doc, nil)
	if err != nil {
		t.Fatal(err)
	}
	img, err := store.Image("p/s", digest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Config.Entrypoint, []string{Agent, "run", "--"}) || !slices.Equal(c.Config.Cmd, []string{"sh"}) {
		t.Errorf("starts with %q %q", c.Config.Entrypoint, c.Config.Cmd)
	}
}

func TestRecord(t *testing.T) {
	store, ep := newStore(t)
	root, idx := project(t, "Dockerfile", pythonDockerfile, "main.py", "one")
	b := recorded(&devBuilder{inner: cached(&fake{store: store}, store, ep, idx, nil), store: store, ep: ep, idx: idx, agent: testAgent("x")}, store, ep)
	spec := pythonSpec(root)
	r, err := b.Build(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "localhost:5001/shop/rng:" + registry.Short(r.Digest) + "@" + r.Digest; r.Ref != want {
		t.Errorf("ref %s, want %s", r.Ref, want)
	}
	back, ok := LoadRecord(store, r.Digest)
	if !ok || back.Service != "rng" || back.Options == "" || len(back.Inputs) == 0 {
		t.Errorf("record %+v %v", back, ok)
	}
	for _, d := range []string{"", "nonsense", "sha256:" + strings.Repeat("0", 64)} {
		if _, ok := LoadRecord(store, d); ok {
			t.Errorf("a record for %q", d)
		}
	}
}

func TestWarnings(t *testing.T) {
	root, idx := project(t, "Dockerfile", "FROM scratch\nCOPY . /app\n", "main.py", "x", ".env", "A=1", ".env.example", "A=", ".git/HEAD", "x", ".git/config", "x",
		"keys/id_rsa", "x", "skipped/.env", "x", ".dockerignore", "skipped\n")
	b, _ := noEngine(t, idx)
	for _, found := range []bool{false, true} {
		var got []string
		r, err := b.Build(t.Context(), pythonSpec(root), func(e Event) { got = append(got, e.Warning) })
		if err != nil || r.Cached != found {
			t.Fatalf("%+v %v", r, err)
		}
		warnings(t, strings.Join(got, "\n"))
	}
}

func warnings(t *testing.T, all string) {
	t.Helper()
	for text, want := range map[string]bool{"takes in .env,": true, ".env.example": false, ".git/HEAD": true, ".git/config": false, "keys/id_rsa": true, "skipped": false, "Dockerfile:2": true} {
		if strings.Contains(all, text) != want {
			t.Errorf("%q in the warnings: %v, want %v\n%s", text, !want, want, all)
		}
	}
}

func TestDiskFull(t *testing.T) {
	b := explained(builderFunc(func(context.Context, Spec, Progress) (*Result, error) {
		return nil, fmt.Errorf("store blob: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	}))
	_, err := b.Build(t.Context(), Spec{}, nil)
	if p := problem.As(err); p == nil || p.Code != "store-full" {
		t.Errorf("%v", err)
	}
}

func TestLimit(t *testing.T) {
	const slots = 2
	running, most := 0, 0
	var mu sync.Mutex
	enter, leave := make(chan struct{}), make(chan struct{})
	b := limited(builderFunc(func(context.Context, Spec, Progress) (*Result, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		enter <- struct{}{}
		<-leave
		mu.Lock()
		running--
		mu.Unlock()
		return &Result{}, nil
	}), slots)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { _, _ = b.Build(context.Background(), Spec{}, nil) })
	}
	for range slots {
		<-enter
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Build(ctx, Spec{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled build waited: %v", err)
	}
	for range 5 - slots {
		leave <- struct{}{}
		<-enter
	}
	leave <- struct{}{}
	leave <- struct{}{}
	wg.Wait()
	if most != slots {
		t.Errorf("%d builds at once, want %d", most, slots)
	}
}

// Who waits for a slot says so, and when that has ended.
func TestLimitTellsOfAWait(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	b := limited(builderFunc(func(context.Context, Spec, Progress) (*Result, error) {
		enter <- struct{}{}
		<-leave
		return &Result{}, nil
	}), 1)
	var wg sync.WaitGroup
	first, second := make(chan Event, 2), make(chan Event, 2)
	wg.Go(func() { _, _ = b.Build(t.Context(), Spec{Service: "a"}, func(e Event) { first <- e }) })
	<-enter
	wg.Go(func() { _, _ = b.Build(t.Context(), Spec{Service: "b"}, func(e Event) { second <- e }) })
	if e := <-second; e.Service != "b" || e.Step != "waits for a free build slot (1 at a time)" || e.Done {
		t.Errorf("%+v", e)
	}
	leave <- struct{}{}
	<-enter
	if e := <-second; !e.Done || e.Step != "waits for a free build slot (1 at a time)" {
		t.Errorf("%+v", e)
	}
	leave <- struct{}{}
	wg.Wait()
	if len(first) != 0 {
		t.Errorf("who need not wait said %+v", <-first)
	}
}

type builderFunc func(context.Context, Spec, Progress) (*Result, error)

func (f builderFunc) Build(ctx context.Context, spec Spec, p Progress) (*Result, error) {
	return f(ctx, spec, p)
}

func TestRepository(t *testing.T) {
	for spec, want := range map[[2]string]string{
		{"shop", "web"}:             "shop/web",
		{"My Shop_2", "web.front"}:  "my-shop-2/web-front",
		{"--", "Ünïcode"}:           "x/n-code",
		{"dockercoins-feature", ""}: "dockercoins-feature/x",
	} {
		got := Spec{Project: spec[0], Service: spec[1]}.Repository()
		if got != want || !layout.ValidRepository(got) {
			t.Errorf("%q: %q, want %q", spec, got, want)
		}
	}
}
