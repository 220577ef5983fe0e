package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
)

// noEngine builds with an engine that does not answer.
func noEngine(t *testing.T, idx *tree.Index) (Builder, *registry.Store) {
	t.Helper()
	store, ep := newStore(t)
	docker, err := client.New(client.WithHost("unix://" + filepath.Join(t.TempDir(), "nobody.sock")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	return New(docker, store, ep, idx), store
}

// goProject has a program in cmd/web, a library that it uses and one that it does not.
func goProject(t *testing.T) (Spec, *tree.Index) {
	root, idx := project(t,
		"go.mod", "module example.test/shop\n\ngo 1.21\n",
		"cmd/web/main.go", "package main\n\nimport (\n\t_ \"embed\"\n\t\"example.test/shop/lib\"\n)\n\n//go:embed greeting.txt\nvar greeting string\n\nfunc main() { println(greeting, lib.Name) }\n",
		"cmd/web/greeting.txt", "hello",
		"cmd/web/kodata/page.html", "<p>",
		"cmd/web/main_test.go", "package main\n",
		"lib/lib.go", "package lib\n\nconst Name = \"one\"\n",
		"other/other.go", "package other\n",
		"README.md", "read by nobody")
	return Spec{
		Project: "shop", Service: "web", Root: root, Context: root, Platform: "linux/amd64",
		Go: &Go{Main: "cmd/web", Base: Scratch},
	}, idx
}

func built(t *testing.T, b Builder, spec Spec) *Result {
	t.Helper()
	r, err := b.Build(t.Context(), spec, func(e Event) { t.Logf("%+v", e) })
	if err != nil {
		t.Fatalf("%v\n%+v", err, problem.As(err))
	}
	return r
}

func TestGo(t *testing.T) {
	spec, idx := goProject(t)
	b, store := noEngine(t, idx)
	first := built(t, b, spec)
	if first.Cached || len(first.Record.Outputs) != 1 || first.Record.Outputs[0].Path != "/app/web" || first.Record.Config.Entrypoint[0] != "/app/web" {
		t.Errorf("first build: %+v %+v", first, first.Record)
	}
	if sum, err := digestOfFile(first.Record.Outputs[0].Local); err != nil || sum != first.Record.Outputs[0].Digest {
		t.Errorf("the output on this machine is %s %v", sum, err)
	}
	if got := contents(t, store, spec, first); got["app/web"] == "" || got["var/run/ko/page.html"] != "<p>" {
		t.Errorf("the image holds %d files", len(got))
	}
	if !slices.Contains(first.Record.Config.Env, "KO_DATA_PATH=/var/run/ko") {
		t.Errorf("environment %v", first.Record.Config.Env)
	}
	write(t, spec.Root, "cmd/web/main_test.go", "package main\n\n// edited\n", "other/other.go", "package other\n\n// edited\n", "README.md", "edited")
	if again := built(t, b, spec); !again.Cached || again.Digest != first.Digest || len(again.Record.Outputs) != 1 {
		t.Errorf("after edits of what the program is not made from: %+v", again)
	}
	for _, file := range []string{"lib/lib.go", "cmd/web/greeting.txt"} {
		was, err := os.ReadFile(filepath.Join(spec.Root, file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, spec.Root, file, strings.Replace(string(was)+"\n", "one", "two", 1))
		if second := built(t, b, spec); second.Cached || second.Digest == first.Digest {
			t.Errorf("after an edit of %s: %+v", file, second)
		}
		write(t, spec.Root, file, string(was))
		if again := built(t, b, spec); !again.Cached || again.Digest != first.Digest {
			t.Errorf("after the edit of %s was undone: %+v", file, again)
		}
	}
}

// Equal sources give equal images, wherever they lie and whoever builds them.
func TestGoReproducible(t *testing.T) {
	digests := map[string]bool{}
	for range 2 {
		spec, idx := goProject(t)
		b, _ := noEngine(t, idx)
		digests[built(t, b, spec).Digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("two folders, digests %v", digests)
	}
}

// The profile beside the main package is compiled in, and one that appears or
// changes is another program.
func TestGoProfile(t *testing.T) {
	spec, idx := goProject(t)
	inputs := func() string {
		list, err := Inputs(t.Context(), spec, idx)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range list {
			if strings.HasSuffix(in.Path, ".pgo") {
				return in.Path
			}
		}
		return ""
	}
	explained := func(file string) dockerfile.Action {
		r, err := Load(spec)
		if err != nil {
			t.Fatal(err)
		}
		return r.Explain(file).Action
	}
	if explained("cmd/web/default.pgo") != dockerfile.Rebuild || inputs() != "" || explained("cmd/web/default.pgo") != dockerfile.Rebuild {
		t.Error("a profile that appears builds nothing")
	}
	write(t, spec.Root, "cmd/web/default.pgo", "profile", "lib/default.pgo", "of a library", "other.pgo", "profile")
	if got := inputs(); got != "cmd/web/default.pgo" || explained("lib/default.pgo") != dockerfile.Nothing {
		t.Errorf("profile %q", got)
	}
	for flags, want := range map[string]string{"-pgo=off": "", "-pgo=other.pgo": "other.pgo", "--pgo other.pgo": "other.pgo", "-pgo=auto": "cmd/web/default.pgo"} {
		spec.Go.Flags = strings.Fields(flags)
		if got := inputs(); got != want {
			t.Errorf("%s: profile %q, want %q", flags, got, want)
		}
	}
}

// What links of kodata lead to is in the image, and an edit of it makes a new one.
func TestGoDataLinks(t *testing.T) {
	spec, _ := goProject(t)
	// The project's folder may be a link too.
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Symlink(spec.Root, home); err != nil {
		t.Fatal(err)
	}
	spec.Root, spec.Context = home, home
	idx, err := tree.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	defer idx.Close()
	write(t, spec.Root, "LICENSE", "free", "static/a.css", "a")
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(spec.Root, "cmd/web/kodata", name)); err != nil {
			t.Fatal(err)
		}
	}
	link("../../../LICENSE", "LICENSE")
	link("../../../static", "static")
	b, store := noEngine(t, idx)
	first := built(t, b, spec)
	got := contents(t, store, spec, first)
	if got["var/run/ko/LICENSE"] != "free" || got["var/run/ko/static/a.css"] != "a" || got["var/run/ko/page.html"] != "<p>" {
		t.Errorf("the image holds %q", got)
	}
	if again := built(t, b, spec); !again.Cached {
		t.Error("nothing changed, and it was built again")
	}
	recipe, err := Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]dockerfile.Action{
		"LICENSE": dockerfile.Rebuild, "static/b.css": dockerfile.Rebuild, "cmd/web/kodata/LICENSE": dockerfile.Rebuild,
		"cmd/web/kodata/page.html": dockerfile.Sync, "README.md": dockerfile.Nothing,
	} {
		if v := recipe.Explain(file); v.Action != want {
			t.Errorf("%s: %v (%s)", file, v.Action, v.Why)
		}
	}
	if places, err := recipe.Placements(t.Context(), idx); err != nil || len(places) != 1 {
		t.Errorf("placements %v %v", places, err)
	}
	for _, file := range []string{"LICENSE", "static/a.css"} {
		write(t, spec.Root, file, "edited")
		if r := built(t, b, spec); r.Cached {
			t.Errorf("an edit of %s builds nothing", file)
		}
	}
	link("..", "loop")
	if _, err := b.Build(t.Context(), spec, nil); err == nil || !strings.Contains(err.Error(), "leads to a folder that it is in") {
		t.Errorf("a loop: %v", err)
	}
	if err := os.Remove(filepath.Join(spec.Root, "cmd/web/kodata/loop")); err != nil {
		t.Fatal(err)
	}
	link("missing", "gone")
	if _, err := b.Build(t.Context(), spec, nil); err == nil || !strings.Contains(err.Error(), "leads to nothing") {
		t.Errorf("a link to nothing: %v", err)
	}
}

// A command may leave a link to what it made elsewhere, as nix build does.
func TestCommandOutputIsALink(t *testing.T) {
	root, idx := project(t, "keep", "x")
	elsewhere := t.TempDir()
	write(t, elsewhere, "bin/tool", "made")
	for _, c := range []struct{ to, path string }{{elsewhere, "/opt/bin/tool"}, {filepath.Join(elsewhere, "bin/tool"), "/opt"}} {
		spec := Spec{Project: "shop", Service: "web", Root: root, Context: root, Platform: "linux/amd64", Command: &Command{
			Run: []string{"ln", "-sfn", c.to, "result"}, Output: "result", To: "/opt", Base: Scratch,
		}}
		b, store := noEngine(t, idx)
		r := built(t, b, spec)
		if got := contents(t, store, spec, r); got[c.path[1:]] != "made" {
			t.Errorf("the image holds %q", got)
		}
	}
}

// A program at the root of its repository is called as its module, so that a
// checkout in another folder can use its image and replace its program there.
func TestGoAtTheRoot(t *testing.T) {
	var first *Result
	store, ep := newStore(t)
	for _, checkout := range []string{"shop", "shop-fix"} {
		root := filepath.Join(t.TempDir(), checkout)
		write(t, root, "go.mod", "module example.test/till\n\ngo 1.21\n", "main.go", "package main\n\nfunc main() {}\n")
		idx, err := tree.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer idx.Close()
		docker, err := client.New(client.WithHost("unix://" + filepath.Join(root, "nobody.sock")))
		if err != nil {
			t.Fatal(err)
		}
		defer docker.Close()
		spec := Spec{Project: "shop", Service: "web", Root: root, Context: root, Platform: "linux/amd64", Go: &Go{Base: Scratch}}
		r := built(t, New(docker, store, ep, idx), spec)
		if got := r.Record.Config.Entrypoint; len(got) != 1 || got[0] != "/app/till" {
			t.Errorf("%s: entrypoint %v", checkout, got)
		}
		made, err := NewCompiler(store).Compile(t.Context(), spec, nil)
		if err != nil || len(made) != 1 || made[0].Path != "/app/till" {
			t.Errorf("%s: compiled %+v %v", checkout, made, err)
		}
		if first == nil {
			first = r
		} else if !r.Cached || r.Digest != first.Digest {
			t.Errorf("%s: %+v, want the image of the first checkout", checkout, r)
		}
	}
}

func TestGoExplain(t *testing.T) {
	spec, idx := goProject(t)
	spec.Context, spec.Go.Main = filepath.Join(spec.Root, "cmd"), "web"
	recipe, err := Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want map[string]dockerfile.Action) {
		t.Helper()
		for file, action := range want {
			if got := recipe.Explain(file); got.Action != action {
				t.Errorf("%s: %v (%s), want %v", file, got.Action, got.Why, action)
			}
		}
	}
	const nothing, rebuild, sync = dockerfile.Nothing, dockerfile.Rebuild, dockerfile.Sync
	// Before Go was asked, names decide.
	check(map[string]dockerfile.Action{"web/main.go": rebuild, "../other/other.go": rebuild, "../go.mod": rebuild, "../README.md": nothing, "web/main_test.go": nothing})
	inputs, err := Inputs(t.Context(), spec, idx)
	if err != nil {
		t.Fatal(err)
	}
	check(map[string]dockerfile.Action{
		"web/main.go": rebuild, "web/new.go": rebuild, "web/greeting.txt": rebuild, "web/kodata/page.html": sync, "web/main_test.go": nothing,
		"../lib/lib.go": rebuild, "../other/other.go": nothing, "../go.mod": rebuild, "../README.md": nothing, "web/notes.txt": nothing,
	})
	for _, in := range inputs {
		if recipe.Explain(in.Path).Action == nothing {
			t.Errorf("%s is an input, and a change of it means nothing", in.Path)
		}
	}
	// An import that is missing may appear in any file.
	write(t, spec.Root, "lib/lib.go", "package lib\n\nimport _ \"example.test/shop/missing\"\n\nconst Name = \"\"\n")
	if _, err := Inputs(t.Context(), spec, idx); err != nil {
		t.Fatal(err)
	}
	check(map[string]dockerfile.Action{"../missing/missing.go": rebuild})
	places, err := recipe.Placements(t.Context(), idx)
	if err != nil || len(places) != 1 || places["/var/run/ko/page.html"].Local != "cmd/web/kodata/page.html" {
		t.Errorf("placements %v %v", places, err)
	}
}

func TestGoFailure(t *testing.T) {
	spec, idx := goProject(t)
	write(t, spec.Root, "lib/lib.go", "package lib\n\nconst Name int = \"\"\n")
	b, _ := noEngine(t, idx)
	_, err := b.Build(t.Context(), spec, nil)
	p := problem.As(err)
	if p == nil || p.Code != "build-failed" || p.Where != "lib/lib.go:3" || !strings.Contains(p.Output, "cannot use") {
		t.Errorf("%v %+v", err, p)
	}
}

func TestCommandFile(t *testing.T) {
	root, idx := project(t,
		"web/src/a.txt", "one", "web/README.md", "x", "web/.gitignore", "*.log\n", "web/build.log", "x",
		"web/build.sh", "mkdir -p out/sub && cat src/a.txt > out/sub/file && chmod 755 out/sub/file && ln -s file out/sub/link && echo made $KDEV_SERVICE $EXTRA")
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root + "/web", Platform: "linux/amd64", Command: &Command{
		Run: []string{"sh", "-c", "rm -rf out; sh build.sh"}, Inputs: []string{"src/**", "build.sh"}, Env: map[string]string{"EXTRA": "more"},
		Output: "out", To: "/srv", Base: Scratch, Entrypoint: []string{"/srv/sub/file"},
	}}
	b, store := noEngine(t, idx)
	var said []string
	first, err := b.Build(t.Context(), spec, func(e Event) { said = append(said, e.Line) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(said, "made web more") {
		t.Errorf("output %q", said)
	}
	if got := contents(t, store, spec, first); got["srv/sub/file"] != "one" || got["srv/sub/link"] != "-> file" {
		t.Errorf("the image holds %v", got)
	}
	if o := first.Record.Outputs; len(o) != 2 || o[0].Path != "/srv/sub/file" || o[0].Mode.Perm() != 0o755 || o[1].Link != "file" {
		t.Errorf("outputs %+v", o)
	}
	write(t, root, "web/README.md", "edited", "web/out/sub/other", "made by nobody")
	if again := built(t, b, spec); !again.Cached {
		t.Error("an edit of what is no input ran the command")
	}
	write(t, root, "web/src/a.txt", "two")
	if second := built(t, b, spec); second.Cached || second.Digest == first.Digest {
		t.Errorf("after an edit: %+v", second)
	}
	// Without inputs, all counts but the output and what git ignores.
	spec.Command.Inputs = nil
	inputs, err := Inputs(t.Context(), spec, idx)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, in := range inputs {
		paths = append(paths, in.Path)
	}
	if got := strings.Join(paths, " "); got != ".gitignore README.md build.sh src/a.txt" {
		t.Errorf("inputs %s", got)
	}
}

// One command of one context makes another image for each service that it is told.
func TestCommandOfTwoServices(t *testing.T) {
	root, idx := project(t, "keep", "x")
	b, store := noEngine(t, idx)
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root, Platform: "linux/amd64", Command: &Command{
		Run: []string{"sh", "-c", "echo $KDEV_SERVICE > out"}, Output: "out", To: "/name", Base: Scratch,
	}}
	for _, service := range []string{"web", "api"} {
		spec.Service = service
		if r := built(t, b, spec); r.Cached || contents(t, store, spec, r)["name"] != service+"\n" {
			t.Errorf("%s: %+v %v", service, r, contents(t, store, spec, r))
		}
	}
	if r := built(t, b, spec); !r.Cached {
		t.Error("the same service again is not in the cache")
	}
	// Another checkout of the project is the same build.
	other, _ := project(t, "keep", "x")
	moved := spec
	moved.Root, moved.Context = other, other
	was, err := productionOptions(spec)
	if now, err2 := productionOptions(moved); err != nil || err2 != nil || was != now {
		t.Errorf("options %s and %s in another folder, %v %v", was, now, err, err2)
	}
}

func TestCommandArchive(t *testing.T) {
	root, idx := project(t, "web/keep", "x")
	img, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	made := t.TempDir()
	if _, err := ocilayout.Write(made, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root + "/web", Platform: "linux/amd64", Command: &Command{
		Run: []string{"cp", "-r", made, "image"}, Output: "image",
	}}
	b, _ := noEngine(t, idx)
	r := built(t, b, spec)
	if want, err := img.Digest(); err != nil || r.Digest != want.String() {
		t.Errorf("digest %s, want %s %v", r.Digest, want, err)
	}
}

func TestCommandFailures(t *testing.T) {
	root, idx := project(t, "web/keep", "x")
	for _, c := range []struct {
		command Command
		code    string
		output  string
	}{
		{Command{Run: []string{"sh", "-c", "echo the reason >&2; exit 3"}, Output: "out", To: "/", Base: Scratch}, "build-failed", "the reason"},
		{Command{Run: []string{"no-such-program"}, Output: "out", To: "/", Base: Scratch}, "build-failed", ""},
		{Command{Run: []string{"true"}, Output: "out", To: "/", Base: Scratch}, "command-no-output", ""},
		{Command{Run: []string{"touch", "out"}, Output: "out"}, "command-no-image", ""},
		{Command{Run: []string{"true"}}, "command-no-image", ""},
	} {
		spec := Spec{Project: "shop", Service: "web", Root: root, Context: root + "/web", Platform: "linux/amd64", Command: &c.command}
		b, _ := noEngine(t, idx)
		_, err := b.Build(t.Context(), spec, nil)
		if p := problem.As(err); p == nil || p.Code != c.code || !strings.Contains(p.Output, c.output) {
			t.Errorf("%v: %v", c.command.Run, err)
		}
	}
}

// A build that nobody wants any more ends with all that it started.
func TestCommandCancel(t *testing.T) {
	root, idx := project(t, "web/keep", "x")
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root + "/web", Platform: "linux/amd64", Command: &Command{
		Run: []string{"sh", "-c", "echo started; sleep 1000 & wait"}, Output: "out", To: "/", Base: Scratch,
	}}
	b, _ := noEngine(t, idx)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var cancelled time.Time
	_, err := b.Build(ctx, spec, func(e Event) {
		if e.Line == "started" {
			cancelled = time.Now()
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	t.Logf("ended %v after the cancel", time.Since(cancelled))
}

// contents are the files and links of an image of the store.
func contents(t *testing.T, store *registry.Store, spec Spec, r *Result) map[string]string {
	t.Helper()
	img, err := store.Image(spec.Repository(), r.Digest)
	if err != nil {
		t.Fatal(err)
	}
	rc := mutate.Extract(img)
	defer rc.Close()
	got := map[string]string{}
	for tr := tar.NewReader(rc); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			got[h.Name] = string(b)
		case tar.TypeSymlink:
			got[h.Name] = "-> " + h.Linkname
		}
	}
}

func TestWarningsOfACommand(t *testing.T) {
	root, idx := project(t, "web/keep", "x")
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root + "/web", Platform: "linux/amd64", Places: map[string]string{"output": "kdev.yaml:6"}, Command: &Command{
		Run: []string{"sh", "-c", "mkdir -p out && echo A=1 > out/.env && echo 1 > out/main"}, Inputs: []string{"keep"}, Output: "out", To: "/srv", Base: Scratch,
	}}
	b, _ := noEngine(t, idx)
	for _, found := range []bool{false, true} {
		var got []string
		r, err := b.Build(t.Context(), spec, func(e Event) { got = append(got, e.Warning) })
		if err != nil || r.Cached != found {
			t.Fatalf("%+v %v", r, err)
		}
		if all := strings.Join(got, ""); !strings.HasPrefix(all, "kdev.yaml:6: the image takes in /srv/.env, ") || strings.Contains(all, "main") {
			t.Errorf("found %v: %q", found, all)
		}
	}
}
