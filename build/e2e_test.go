//go:build e2e

package build

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

type bench struct {
	docker *client.Client
	store  *registry.Store
	ep     *registry.Endpoint
}

// newBench runs a registry of the test's own on the engine.
func newBench(t *testing.T) *bench {
	t.Helper()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ep, err := registry.Ensure(t.Context(), docker, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = docker.ContainerRemove(context.Background(), ep.Container, client.ContainerRemoveOptions{Force: true})
	})
	return &bench{docker, store, ep}
}

func TestDocker(t *testing.T) {
	b := newBench(t)
	root, idx := project(t,
		"web/Dockerfile", "FROM debian:bookworm-slim\nWORKDIR /app\nCOPY src ./\nRUN cat main.txt && date +%N > /stamp\nCMD [\"sleep\", \"1\"]\n",
		"web/.dockerignore", "src/ignored\n",
		"web/README.md", "read by nobody",
		"web/src/main.txt", "one",
		"web/src/ignored", "x")
	spec := Spec{Project: "Shop", Service: "web", Root: root, Context: root + "/web", Dockerfile: root + "/web/Dockerfile", Platform: "linux/amd64"}
	builder := New(b.docker, b.store, b.ep, idx)
	build := func() *Result {
		t.Helper()
		r, err := builder.Build(t.Context(), spec, func(e Event) { t.Logf("%+v", e) })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", r)
		return r
	}
	first := build()
	if first.Cached || !strings.HasPrefix(first.Ref, b.ep.Host+"/shop/web:") {
		t.Errorf("first build: %+v", first)
	}
	if again := build(); !again.Cached || again.Digest != first.Digest {
		t.Errorf("second build: %+v", again)
	}
	write(t, root, "web/README.md", "edited", "web/src/ignored", "edited")
	if again := build(); !again.Cached || again.Digest != first.Digest {
		t.Errorf("after edits of what nobody reads: %+v", again)
	}
	write(t, root, "web/src/main.txt", "two")
	second := build()
	if second.Cached || second.Digest == first.Digest {
		t.Errorf("after an edit: %+v", second)
	}
	write(t, root, "web/src/main.txt", "one")
	if again := build(); !again.Cached || again.Digest != first.Digest {
		t.Errorf("after the edit was undone: %+v", again)
	}
	record, ok := LoadRecord(b.store, second.Digest)
	if !ok || record.Service != "web" || record.Config.WorkingDir != "/app" {
		t.Fatalf("record %+v", record)
	}
	for path, want := range map[string]bool{"src/main.txt": true, "src/ignored": false, "README.md": false} {
		if got := slices.ContainsFunc(record.Inputs, func(in Input) bool { return in.Path == path }); got != want {
			t.Errorf("%s among the inputs: %v", path, got)
		}
	}
	img, err := b.store.Image(spec.Repository(), second.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.ConfigFile(); err != nil {
		t.Error(err)
	}
	tags, err := b.store.Tags("shop/web")
	if err != nil || len(tags) != 2 {
		t.Errorf("tags %v %v, want one for each image and none of a build", tags, err)
	}
}

func TestDockerFailure(t *testing.T) {
	b := newBench(t)
	root, idx := project(t, "web/Dockerfile", "FROM debian:bookworm-slim\n\nRUN echo before; \\\n    echo the reason >&2; exit 3\n")
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root + "/web", Dockerfile: root + "/web/Dockerfile", Platform: "linux/amd64"}
	_, err := New(b.docker, b.store, b.ep, idx).Build(t.Context(), spec, nil)
	p := problem.As(err)
	if p == nil || p.Code != "build-failed" || p.Where != "web/Dockerfile:3" || !strings.Contains(p.Output, "the reason") {
		t.Errorf("%+v", p)
	}
}

func TestDockerCancel(t *testing.T) {
	b := newBench(t)
	root, idx := project(t, "Dockerfile", "FROM debian:bookworm-slim\nRUN echo started; sleep 100077\n")
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root, Dockerfile: root + "/Dockerfile", Platform: "linux/amd64"}
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	_, err := New(b.docker, b.store, b.ep, idx).Build(ctx, spec, func(e Event) {
		if e.Line == "started" {
			cancelled = time.Now()
			cancel()
		}
	})
	if ctx.Err() == nil || err == nil {
		t.Fatalf("the build ended by itself: %v", err)
	}
	t.Logf("ended %v after the cancel: %v", time.Since(cancelled), err)
	// The client is gone: the engine ends the step by itself.
	for deadline := time.Now().Add(time.Minute); runs("sleep\x00100077"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the engine still runs the step")
		}
	}
	t.Logf("the engine's step ended %v after the cancel", time.Since(cancelled))
}

// runs says whether a process of this machine has this command line, NULs included.
func runs(line string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(files, func(file string) bool {
		b, _ := os.ReadFile(file)
		return strings.HasPrefix(string(b), line)
	})
}
