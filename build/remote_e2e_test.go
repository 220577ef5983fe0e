//go:build e2e

package build

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/build/upstream"
	"github.com/kdev-io/kdev/internal/buildkit"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
)

// startBuildKit compiles buildkitd and runs it beside the engine: nothing of it is the
// engine's but runc. Images of Docker Hub it finds in the registry.
func startBuildKit(t *testing.T, mirror string) *buildkit.Server {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "buildkitd")
	start := time.Now()
	compile := exec.CommandContext(t.Context(), "go", "build", "-C", "../hack/buildkit", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w", "-o", program, "github.com/moby/buildkit/cmd/buildkitd")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOGC=400")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("compile buildkitd: %v\n%s", err, out)
	}
	t.Logf("buildkitd was compiled in %v", time.Since(start).Round(time.Second))
	runc := "runc"
	if _, err := os.Stat("/usr/local/libexec/kdev/runcaps"); err == nil {
		runc = "/usr/local/libexec/kdev/runcaps" // see hack/runcaps
	}
	socket := "unix://" + dir + "/socket"
	config := fmt.Sprintf(`root = %q
[grpc]
  address = [%q]
[worker.oci]
  binary = %q
[worker.containerd]
  enabled = false
[registry."docker.io"]
  mirrors = ["%s"]
[registry.%q]
  http = true
`, dir+"/root", socket, runc, mirror, mirror)
	write(t, dir, "buildkitd.toml", config)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(program, "--config", filepath.Join(dir, "buildkitd.toml"))
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(os.Interrupt)
		_ = daemon.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("buildkitd said:\n%s", text)
		}
	})
	server, err := buildkit.Open(buildkit.Options{Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for ready := time.NewTicker(50 * time.Millisecond); ; {
		kit, err := server.Dial(t.Context())
		if err == nil {
			kit.Close()
			ready.Stop()
			return server
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-ready.C:
		}
	}
}

// A machine without an engine: a store of its own, and a client that leads nowhere.
func withoutEngine(t *testing.T, kit *buildkit.Server, idx *tree.Index) (Builder, *registry.Store) {
	t.Helper()
	docker, err := client.New(client.WithHost("tcp://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var options []Option
	if kit != nil {
		options = append(options, BuildKit(kit))
	}
	return New(docker, store, registry.Local(), idx, options...), store
}

func TestRemote(t *testing.T) {
	b := newBench(t)
	if err := upstream.New(b.docker, b.store, b.ep).Provide(t.Context(), []string{"debian:bookworm-slim"}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	kit := startBuildKit(t, b.ep.PushHost)
	debian := b.ep.PushHost + "/" + registry.MirrorRepository("docker.io", "library/debian") + ":bookworm-slim"
	salt := rand.Text()
	spec := func(root, name string) Spec {
		dir := filepath.Join(root, name)
		return Spec{Project: "remote", Service: name, Root: root, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Platform: "linux/amd64",
			Args: map[string]string{"WHO": "world"}, Options: engine.Options{Secrets: map[string]engine.Secret{"token": {File: filepath.Join(root, "token")}}, Hosts: map[string]string{"git.corp": "10.0.0.5"}}}
	}
	steps := "ARG WHO\nRUN --mount=type=secret,id=token cat /run/secrets/token > /seen && getent hosts git.corp >> /seen && echo hello $WHO, $(cat /run/secrets/token) && useradd -u 4321 kdev && echo " + salt + " > /salt\n"
	copies := "USER kdev\nWORKDIR /home/kdev/app\nCOPY --chown=kdev:kdev src .\nENV A=b\nCMD [\"x\"]\n"
	files := []string{"token", "hunter22", ".dockerignore", "skipped\n", "skipped", "x", "src/a.txt", "a\n", "src/sub/b.txt", "b\n"}

	for _, c := range []struct{ name, dockerfile, rung string }{
		{"layered", "# syntax=docker/dockerfile:1.7\nFROM " + debian + "\n" + steps + copies, "assembled on layers of " + kit.String()},
		{"whole", "FROM " + debian + "\n" + copies + "USER root\n" + steps, kit.String()},
		{"mirrored", "FROM debian:bookworm-slim\nCOPY src /src\n" + steps, kit.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, idx := project(t, "token", "hunter22", c.name+"/Dockerfile", c.dockerfile)
			for i := 2; i < len(files); i += 2 {
				write(t, root, c.name+"/"+files[i], files[i+1])
			}
			spec := spec(root, c.name)
			builder, store := withoutEngine(t, kit, idx)
			var said []string
			start := time.Now()
			ours, err := builder.Build(t.Context(), spec, func(e Event) { said = append(said, e.Line) })
			if err != nil {
				t.Fatalf("%v\n%+v", err, problem.As(err))
			}
			t.Logf("built in %v: %s (%s)", time.Since(start).Round(time.Millisecond), ours.Rung, ours.Why)
			if ours.Rung != c.rung {
				t.Errorf("rung %q, want %q", ours.Rung, c.rung)
			}
			if all := strings.Join(said, "\n"); !strings.Contains(all, "hello world, ") {
				t.Errorf("the build said %q", all)
			}
			theirs, err := New(b.docker, b.store, b.ep, idx).Build(t.Context(), spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			// What the engine's useradd and ours write differs in the day alone, and that not.
			compareImages(t, imageOf(t, b.store, spec, theirs), imageOf(t, store, spec, ours), "run/secrets ") // an engine of old leaves the folder
			if again, err := builder.Build(t.Context(), spec, nil); err != nil || !again.Cached {
				t.Errorf("built twice: %+v %v", again, err)
			}

			// What the store has is not sent again.
			received := int64(-1)
			write(t, root, c.name+"/src/a.txt", "changed\n", c.name+"/Dockerfile", c.dockerfile+"RUN echo once more\n")
			changed, err := builder.Build(t.Context(), spec, func(e Event) { received = max(received, e.Bytes) })
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("after a change %d bytes were sent", received)
			if changed.Digest == ours.Digest || received < 0 || received > 10<<20 {
				t.Errorf("after a change %d bytes were sent", received)
			}

			// Another machine's store is empty, and BuildKit has every step.
			other, _ := withoutEngine(t, kit, idx)
			cached := 0
			if _, err := other.Build(t.Context(), spec, func(e Event) {
				if e.Cached && strings.Contains(e.Step, "RUN") {
					cached++
				}
			}); err != nil || cached == 0 {
				t.Errorf("%d steps were cached: %v", cached, err)
			}
		})
	}

	// Nothing is run, and yet BuildKit has to help: it alone knows the mirror.
	t.Run("taken", func(t *testing.T) {
		root, idx := project(t, "token", "", "web/Dockerfile", "FROM debian:bookworm-slim\nCOPY a.txt /x/\n", "web/a.txt", "a")
		builder, store := withoutEngine(t, kit, idx)
		ours, err := builder.Build(t.Context(), spec(root, "web"), nil)
		if err != nil {
			t.Fatalf("%v\n%+v", err, problem.As(err))
		}
		if ours.Rung != "assembled" {
			t.Errorf("rung %q (%s)", ours.Rung, ours.Why)
		}
		theirs, err := New(b.docker, b.store, b.ep, idx).Build(t.Context(), spec(root, "web"), nil)
		if err != nil {
			t.Fatal(err)
		}
		compareImages(t, imageOf(t, b.store, spec(root, "web"), theirs), imageOf(t, store, spec(root, "web"), ours), "")
	})

	t.Run("family", func(t *testing.T) {
		root, idx := project(t, "token", "hunter22",
			"base/Dockerfile", "FROM "+debian+"\nRUN mkdir /base && echo "+salt+" > /base/run.txt\nCOPY lib.txt /base/\n", "base/lib.txt", "one",
			"over/Dockerfile", "FROM base\nRUN cat /base/lib.txt > /seen\nCOPY a.txt /\n", "over/a.txt", "a",
			"staged/Dockerfile", "FROM base AS base\nCOPY a.txt /\nRUN cat /base/lib.txt > /seen\n", "staged/a.txt", "a",
			"whole/Dockerfile", "FROM "+debian+"\nCOPY --from=base /base /base\nRUN --mount=from=base,target=/b cat /b/base/lib.txt > /seen\n")
		var all []Sibling
		for _, name := range []string{"base", "over", "staged", "whole"} {
			all = append(all, Sibling{Spec: spec(root, name)})
		}
		builder, store := withoutEngine(t, kit, idx)
		for _, lib := range []string{"one", "two"} {
			write(t, root, "base/lib.txt", lib)
			for _, name := range []string{"over", "staged", "whole"} {
				spec := spec(root, name)
				spec.Siblings = all
				r, err := builder.Build(t.Context(), spec, nil)
				if err != nil {
					t.Fatalf("%s: %v\n%+v", name, err, problem.As(err))
				}
				if files := contents(t, store, spec, r); files["seen"] != lib || files["base/run.txt"] != salt+"\n" {
					t.Errorf("%s (%s): RUN saw %q of base, and %q is there", name, r.Rung, files["seen"], files["base/run.txt"])
				}
			}
		}
	})

	t.Run("failure", func(t *testing.T) {
		root, idx := project(t, "token", "hunter22", "web/Dockerfile", "FROM "+debian+"\n\nRUN echo before; \\\n    echo the reason >&2; exit 3\n")
		builder, _ := withoutEngine(t, kit, idx)
		_, err := builder.Build(t.Context(), spec(root, "web"), nil)
		p := problem.As(err)
		if p == nil || p.Code != "build-failed" || p.Where != "web/Dockerfile:3" || !strings.Contains(p.Output, "the reason") {
			t.Errorf("%+v", p)
		}
		write(t, root, "web/Dockerfile", "FROM "+debian+"\nRUN --mount=type=secret,id=none,required=true true\n")
		_, err = builder.Build(t.Context(), spec(root, "web"), nil)
		if p := problem.As(err); p == nil || p.Where != "web/Dockerfile:2" || !strings.Contains(p.Hint, "build.secrets") {
			t.Errorf("%+v", p)
		}
		write(t, root, "web/Dockerfile", "FROM "+debian+"\nFROM "+b.ep.PushHost+"/no/such:1\nRUN true\n")
		_, err = builder.Build(t.Context(), spec(root, "web"), nil)
		if p := problem.As(err); p == nil || p.Where != "web/Dockerfile:2" {
			t.Errorf("%+v", p)
		}
	})

	t.Run("cancel", func(t *testing.T) {
		root, idx := project(t, "token", "hunter22", "web/Dockerfile", "FROM "+debian+"\nRUN echo started; sleep 1000\n")
		builder, _ := withoutEngine(t, kit, idx)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var cancelled time.Time
		_, err := builder.Build(ctx, spec(root, "web"), func(e Event) {
			if e.Line == "started" {
				cancelled = time.Now()
				cancel()
			}
		})
		took := time.Since(cancelled)
		if ctx.Err() == nil || err == nil {
			t.Fatalf("the build ended by itself: %v", err)
		}
		t.Logf("ended %v after the cancel: %v", took, err)
		if took > 2*time.Second {
			t.Errorf("it ended %v after the cancel", took)
		}
	})

	t.Run("none", func(t *testing.T) {
		root, idx := project(t, "token", "hunter22", "web/Dockerfile", "FROM "+debian+"\nRUN true\nCOPY Dockerfile /\n")
		builder, _ := withoutEngine(t, nil, idx)
		for _, text := range []string{"FROM " + debian + "\nRUN true\nCOPY Dockerfile /\n", "FROM " + debian + "\nRUN true\n"} {
			write(t, root, "web/Dockerfile", text)
			_, err := builder.Build(t.Context(), spec(root, "web"), nil)
			p := problem.As(err)
			if p == nil || !strings.HasPrefix(p.Where, "web/Dockerfile:2") || !strings.Contains(p.Hint, "BUILDKIT_HOST") || !strings.Contains(p.Hint, "buildkit: cluster") {
				t.Errorf("%+v", p)
			}
		}
	})
}
