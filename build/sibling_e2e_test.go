//go:build e2e

package build

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/problem"
)

// Images that begin with another one of the project and run something: by steps of
// the engine below what is laid over them, and wholly in the engine. What RUN may
// use, secrets among it, comes from the options.
func TestDockerFamily(t *testing.T) {
	b := newBench(t)
	// Each time another step, since what the engine remembers prints nothing.
	run := "RUN --mount=type=secret,id=token cat /base/lib.txt /run/secrets/token > /seen && getent hosts git.corp >> /seen && echo token is $(cat /run/secrets/token) # " + rand.Text() + "\n"
	root, idx := project(t,
		"base/Dockerfile", "FROM debian:bookworm-slim\nRUN mkdir /base && echo made > /base/run.txt\nCOPY lib.txt /base/\n",
		"base/lib.txt", "one",
		"over/Dockerfile", "FROM base\n"+run+"COPY a.txt /\n", "over/a.txt", "a",
		"staged/Dockerfile", "FROM base AS base\nCOPY a.txt /\n"+run, "staged/a.txt", "a",
		"whole/Dockerfile", "FROM debian:bookworm-slim\nCOPY --from=base /base /base\n"+run, "whole/a.txt", "a",
		"token", "hunter22")
	var all []Sibling
	specs := map[string]Spec{}
	for _, name := range []string{"base", "over", "staged", "whole"} {
		dir := filepath.Join(root, name)
		specs[name] = Spec{
			Project: "family", Service: name, Root: root, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Platform: "linux/amd64",
			Options: engine.Options{Secrets: map[string]engine.Secret{"token": {File: filepath.Join(root, "token")}}, Hosts: map[string]string{"git.corp": "10.0.0.5"}},
		}
		all = append(all, Sibling{Spec: specs[name]})
	}
	builder := New(b.docker, b.store, b.ep, idx)
	digests := map[string]string{}
	for _, lib := range []string{"one", "two"} {
		write(t, root, "base/lib.txt", lib)
		for _, name := range []string{"over", "staged", "whole"} {
			spec := specs[name]
			spec.Siblings = all
			said := ""
			r, err := builder.Build(t.Context(), spec, func(e Event) { said += e.Line + "\n"; t.Logf("%+v", e) })
			if err != nil {
				t.Fatalf("%s: %v\n%+v", name, err, problem.As(err))
			}
			files := contents(t, b.store, spec, r)
			if got := files["seen"]; !strings.HasPrefix(got, lib+"hunter22") || !strings.Contains(got, "10.0.0.5") {
				t.Errorf("%s: RUN saw %q", name, got)
			}
			if files["base/run.txt"] != "made\n" || files["base/lib.txt"] != lib || !strings.Contains(said, "token is hunter22") {
				t.Errorf("%s (%s) holds %q; it said %q", name, r.Rung, files["base/run.txt"], said)
			}
			for file := range files {
				if strings.HasPrefix(file, "run/secrets") {
					t.Errorf("%s: the image holds %s", name, file)
				}
			}
			if r.Digest == digests[name] {
				t.Errorf("%s is the same image after its base changed", name)
			}
			digests[name] = r.Digest
			if again, err := builder.Build(t.Context(), spec, nil); err != nil || !again.Cached {
				t.Errorf("%s is built twice: %v", name, err)
			}
		}
	}

	if err := os.Remove(filepath.Join(root, "token")); err != nil {
		t.Fatal(err)
	}
	write(t, root, "base/lib.txt", "three")
	spec := specs["over"]
	spec.Siblings = all
	if _, err := builder.Build(t.Context(), spec, nil); problem.As(err) == nil || problem.As(err).Code != "build-secret" {
		t.Errorf("without the secret's file: %v", err)
	}
	spec.Options.Secrets = nil
	if _, err := builder.Build(t.Context(), spec, nil); problem.As(err) == nil || problem.As(err).Where != "over/Dockerfile:2" {
		t.Errorf("without the secret: %+v", problem.As(err))
	}
}
