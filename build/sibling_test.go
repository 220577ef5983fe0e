package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

func TestSiblingIs(t *testing.T) {
	for _, c := range []struct {
		service, image, base string
		want                 bool
	}{
		{"base", "", "base", true},
		{"base", "", "base:latest", true},
		{"base", "", "docker.io/library/base", true},
		{"base", "", "base:7", false},
		{"base", "", "acme/base", false},
		{"redis", "redis", "redis:7-alpine", false},
		{"redis", "redis", "redis", true},
		{"base", "acme/base", "acme/base:1.2", true},
		{"base", "acme/base", "docker.io/acme/base", true},
		{"base", "ghcr.io/acme/runtime", "ghcr.io/acme/runtime:main", true},
		{"base", "ghcr.io/acme/runtime", "base", false},
		{"base", "localhost:5000/x", "localhost:5000/x:y", true},
		{"base", "acme/base", "acme/base@sha256:" + strings.Repeat("0", 64), false},
		{"base", "", "NOT A NAME", false},
	} {
		s := Sibling{Image: c.image, Spec: Spec{Service: c.service}}
		if got := s.is(c.base); got != c.want {
			t.Errorf("service %s, image %q: FROM %s is it: %v, want %v", c.service, c.image, c.base, got, c.want)
		}
	}
}

// family has a base that two services begin with and one that copies from it.
func family(t *testing.T) (specs map[string]Spec, b Builder, read func(service string, r *Result) map[string]string) {
	root, idx := project(t,
		"base/Dockerfile", "FROM scratch\nWORKDIR /lib\nCOPY lib.txt ./\nENV LEVEL=1\n",
		"base/lib.txt", "one",
		"base/README.md", "read by nobody",
		"web/Dockerfile", "FROM base\nCOPY web.txt /\n",
		"web/web.txt", "web",
		"api/Dockerfile", "FROM web AS build\nFROM scratch\nCOPY --from=acme/base:1 /lib /copied\nCOPY --from=build /web.txt /\nCOPY api.txt /\n",
		"api/api.txt", "api",
		"alone/Dockerfile", "FROM scratch\nCOPY a.txt /\n",
		"alone/a.txt", "a")
	specs = map[string]Spec{}
	var all []Sibling
	for _, name := range []string{"base", "web", "api", "alone"} {
		dir := filepath.Join(root, name)
		specs[name] = Spec{Project: "shop", Service: name, Root: root, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Platform: "linux/amd64"}
		all = append(all, Sibling{Spec: specs[name]})
	}
	all = append(all, Sibling{Image: "acme/base", Spec: specs["base"]})
	for name, s := range specs {
		s.Siblings = all
		specs[name] = s
	}
	b, store := noEngine(t, idx)
	return specs, b, func(service string, r *Result) map[string]string { return contents(t, store, specs[service], r) }
}

// What ONBUILD of an image of the project reads is the child's.
func TestOnBuildOfASibling(t *testing.T) {
	specs, b, read := family(t)
	root := specs["base"].Root
	write(t, root, "base/Dockerfile", "FROM scratch\nWORKDIR /lib\nCOPY lib.txt ./\nENV LEVEL=1\nONBUILD COPY trigger.txt /lib/\n", "web/trigger.txt", "one")
	for _, want := range []string{"one", "two"} {
		write(t, root, "web/trigger.txt", want)
		web := built(t, b, specs["web"])
		if got := read("web", web); got["lib/trigger.txt"] != want || web.Cached {
			t.Errorf("with %s: %v, cached %v", want, got, web.Cached)
		}
		if !built(t, b, specs["web"]).Cached {
			t.Error("nothing was saved, and it is built again")
		}
	}
	recipe, err := Load(specs["web"])
	if err != nil {
		t.Fatal(err)
	}
	if v := recipe.Explain("trigger.txt"); v.Action == dockerfile.Nothing || len(v.Dests) != 1 || v.Dests[0] != "/lib/trigger.txt" {
		t.Errorf("%+v", v)
	}
	// Its own image, and what others COPY --from it, run no trigger.
	write(t, root, "base/trigger.txt", "x")
	if base := built(t, b, specs["base"]); read("base", base)["lib/trigger.txt"] != "" {
		t.Error("the trigger ran where it stands")
	}
}

func TestImagesFromEachOther(t *testing.T) {
	specs, b, read := family(t)
	root := specs["base"].Root
	// The last of them first: what it is made from comes before it.
	api := built(t, b, specs["api"])
	if got := read("api", api); got["copied/lib.txt"] != "one" || got["web.txt"] != "web" || got["api.txt"] != "api" {
		t.Errorf("api holds %v", got)
	}
	web := built(t, b, specs["web"])
	if !web.Cached {
		t.Error("web was built for api and is built again")
	}
	if got := read("web", web); got["lib/lib.txt"] != "one" || got["web.txt"] != "web" {
		t.Errorf("web holds %v", got)
	}
	if !slices.Contains(web.Record.Config.Env, "LEVEL=1") || web.Record.Config.WorkingDir != "/lib" {
		t.Errorf("web's configuration lacks its base's: %+v", web.Record.Config)
	}
	alone := built(t, b, specs["alone"])

	for _, step := range []struct {
		name, file, content string
		again               []string // services with a new image
	}{
		{"the base's file", "base/lib.txt", "two", []string{"base", "web", "api"}},
		{"a file of the base that it does not read", "base/README.md", "edited", nil},
		{"a comment in the base's Dockerfile", "base/Dockerfile", "# edited\nFROM scratch\nWORKDIR /lib\nCOPY lib.txt ./\nENV LEVEL=1\n", nil},
		{"the base's configuration", "base/Dockerfile", "FROM scratch\nWORKDIR /lib\nCOPY lib.txt ./\nENV LEVEL=2\n", []string{"base", "web"}},
		{"the one in the middle", "web/web.txt", "edited", []string{"web", "api"}},
		{"the last one", "api/api.txt", "edited", []string{"api"}},
	} {
		before := map[string]string{}
		for name, spec := range specs {
			before[name] = built(t, b, spec).Digest
		}
		write(t, root, step.file, step.content)
		var changed []string
		for _, name := range []string{"base", "web", "api", "alone"} {
			if built(t, b, specs[name]).Digest != before[name] {
				changed = append(changed, name)
			}
		}
		if !slices.Equal(changed, step.again) {
			t.Errorf("%s: new images of %v, want %v", step.name, changed, step.again)
		}
	}
	if again := built(t, b, specs["alone"]); !again.Cached || again.Digest != alone.Digest {
		t.Error("a service that begins with nobody's image was built again")
	}
}

// A saved file of a parent is a changed input of the child, before anything is built.
func TestInheritedInputs(t *testing.T) {
	specs, _, _ := family(t)
	web := specs["web"]
	look := func() (Input, Recipe) {
		t.Helper()
		list, err := Inputs(t.Context(), web, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(in Input) bool { return Inherited(in.Path) })
		r, err := Load(web)
		if i < 0 || err != nil {
			t.Fatalf("inputs %v %v", list, err)
		}
		return list[i], r
	}
	before, r := look()
	if v := r.Explain(before.Path); v.Action != dockerfile.Rebuild || v.Why != "the image is made from that of base" {
		t.Errorf("%s: %+v", before.Path, v)
	}
	if len(r.Bases()) != 0 {
		t.Errorf("images to pull: %v", r.Bases())
	}
	write(t, web.Root, "base/lib.txt", "two")
	if after, _ := look(); after == before {
		t.Error("an edit of the parent's file is none of the child's inputs")
	}
	if options, err := OptionsHash(web); err != nil || options == "" {
		t.Error(err)
	}
}

func TestImagesInACircle(t *testing.T) {
	specs, b, _ := family(t)
	write(t, specs["base"].Root, "base/Dockerfile", "FROM scratch AS x\nFROM api\nCOPY lib.txt /\n")
	for name, where := range map[string]string{"base": "api/Dockerfile:3", "web": "", "api": ""} {
		_, err := b.Build(t.Context(), specs[name], nil)
		p := problem.As(err)
		if p == nil || p.Code != "build-cycle" || !strings.Contains(p.Where, "Dockerfile:") {
			t.Fatalf("%s: %v", name, err)
		}
		if where != "" && p.Where != where {
			t.Errorf("%s: at %s, want %s: %s", name, p.Where, where, p.Summary)
		}
	}
	if _, err := b.Build(t.Context(), specs["alone"], nil); err != nil {
		t.Errorf("what has no part in it: %v", err)
	}
	// An image of others may have the service's own name.
	write(t, specs["base"].Root, "base/Dockerfile", "FROM base\nCOPY lib.txt /\n")
	r, err := Load(specs["base"])
	if err != nil || !slices.Equal(r.Bases(), []string{"base"}) {
		t.Errorf("%v %v", r, err)
	}
}

// A parent that cannot be built is a failure of its children, and of no others.
func TestAParentFails(t *testing.T) {
	specs, b, _ := family(t)
	if err := os.Remove(filepath.Join(specs["base"].Context, "lib.txt")); err != nil {
		t.Fatal(err)
	}
	_, err := b.Build(t.Context(), specs["web"], nil)
	p := problem.As(err)
	if p == nil || p.Code != "build-failed" || p.Where != "base/Dockerfile:3" || !strings.HasPrefix(p.Summary, "base, which it is made from: ") {
		t.Errorf("%+v", p)
	}
	if _, err := b.Build(t.Context(), specs["alone"], nil); err != nil {
		t.Error(err)
	}
}

// One image is made by one build at a time, and one that waits can leave.
func TestLinkedBuildsOnce(t *testing.T) {
	specs, _, _ := family(t)
	store, ep := newStore(t)
	var mu sync.Mutex
	running := map[string]int{}
	began, leave := make(chan string, 8), make(chan struct{})
	b := linked(builderFunc(func(ctx context.Context, spec Spec, _ Progress) (*Result, error) {
		mu.Lock()
		running[spec.Service]++
		if running[spec.Service] > 1 {
			t.Errorf("%s is built twice at once", spec.Service)
		}
		mu.Unlock()
		began <- spec.Service
		select {
		case <-leave:
		case <-ctx.Done():
		}
		mu.Lock()
		running[spec.Service]--
		mu.Unlock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d, err := putImage(store, spec.Repository(), spec.Service)
		return &Result{Digest: d}, err
	}), store, ep, nil)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 2)
	go func() { _, err := b.Build(ctx, specs["web"], nil); failed <- err }()
	if s := <-began; s != "base" {
		t.Fatalf("%s began first", s)
	}
	go func() { _, err := b.Build(ctx, specs["base"], nil); failed <- err }()
	cancel()
	for range 2 {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled build ended with %v", err)
		}
	}
	close(leave)
	r, err := b.Build(t.Context(), specs["web"], nil)
	if err != nil || !store.Store.Has(layout.Digest(r.Digest), -1) {
		t.Errorf("after the cancelled one: %+v %v", r, err)
	}
}

// Two names for one parent are one input: the image is found again.
func TestOneParentUnderTwoNames(t *testing.T) {
	specs, b, read := family(t)
	for _, other := range []string{"base:latest", "acme/base:2"} {
		write(t, specs["web"].Root, "web/Dockerfile", "FROM base\nCOPY --from="+other+" /lib /two\nCOPY web.txt /\n")
		r := built(t, b, specs["web"])
		if got := read("web", r); got["two/lib.txt"] != "one" {
			t.Errorf("with %s: %v", other, got)
		}
		if again := built(t, b, specs["web"]); !again.Cached || again.Digest != r.Digest {
			t.Errorf("with %s: built again", other)
		}
	}
}

func TestBasesOfAChildAreItsOwn(t *testing.T) {
	own := &nothing{bases: []string{"base", "alpine"}}
	r := inherit(own, []Parent{{Base: "base"}})
	for range 2 {
		if got := r.Bases(); !slices.Equal(got, []string{"alpine"}) || !slices.Equal(own.bases, []string{"base", "alpine"}) {
			t.Errorf("%q of %q", got, own.bases)
		}
	}
}

// A parent's file that is saved while the parent is made may not be in it: the
// child is not taken for one that holds it.
func TestAParentThatChangesMeanwhile(t *testing.T) {
	specs, _, _ := family(t)
	store, ep := newStore(t)
	inner := builderFunc(func(_ context.Context, spec Spec, _ Progress) (*Result, error) {
		d, err := putImage(store, spec.Repository(), spec.Service)
		if spec.Service == "base" {
			write(t, spec.Root, "base/lib.txt", "saved when it was read already")
		}
		return &Result{Digest: d}, err
	})
	web := specs["web"]
	r := built(t, linked(cached(inner, store, ep, nil, nil), store, ep, nil), web)
	now, err := Inputs(t.Context(), web, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(now, func(in Input) bool { return Inherited(in.Path) })
	if i < 0 || slices.Contains(r.Record.Inputs, now[i]) {
		t.Errorf("made from %+v, and current is %+v", r.Record.Inputs, now)
	}
}

// wanted waits until the shared builds that go on are waited for by so many each, the
// most wanted first.
func (l *linker) wanted(want ...int) {
	for {
		var now []int
		l.mu.Lock()
		for _, r := range l.runs {
			r.mu.Lock()
			now = append(now, len(r.wanted))
			r.mu.Unlock()
		}
		l.mu.Unlock()
		slices.Sort(now)
		slices.Reverse(now)
		if slices.Equal(now, want) {
			return
		}
		runtime.Gosched()
	}
}

// A parent is built once for all who wait for it, also where it fails, and goes
// on while somebody does.
func TestAParentIsShared(t *testing.T) {
	specs, _, _ := family(t)
	store, ep := newStore(t)
	var builds atomic.Int32
	began, end := make(chan struct{}), make(chan error)
	l := linked(builderFunc(func(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
		if spec.Service == "base" {
			builds.Add(1)
			began <- struct{}{}
			select {
			case err := <-end:
				if err != nil {
					return nil, err
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		progress.send(spec, Event{Step: "made"})
		d, err := putImage(store, spec.Repository(), spec.Service)
		return &Result{Digest: d, Record: &Record{}}, err
	}), store, ep, nil).(*linker)
	start := func(ctx context.Context, service string) <-chan error {
		out := make(chan error, 1)
		go func() { _, err := l.Build(ctx, specs[service], nil); out <- err }()
		return out
	}
	// base, web (for api too) and api want it.
	var all []<-chan error
	for _, service := range []string{"base", "web", "api"} {
		all = append(all, start(t.Context(), service))
	}
	<-began
	l.wanted(3, 2) // web's is waited for by api too
	end <- &problem.Problem{Code: "build-failed", Summary: "it broke"}
	for _, out := range all {
		if err := <-out; problem.As(err) == nil || !strings.HasSuffix(problem.As(err).Summary, "it broke") {
			t.Errorf("%v", err)
		}
	}
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}

	// Who began it leaves; it goes on for the other one, and another time begins anew.
	ctx, cancel := context.WithCancel(t.Context())
	first := start(ctx, "base")
	<-began
	second := start(t.Context(), "base")
	l.wanted(2)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	end <- nil
	if err := <-second; err != nil {
		t.Error(err)
	}
	if n := builds.Load(); n != 2 {
		t.Errorf("built %d times", n)
	}
	if len(l.runs) != 0 {
		t.Errorf("left: %v", l.runs)
	}
}
