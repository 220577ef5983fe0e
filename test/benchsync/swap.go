package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// program links what makes a large binary, and serves a version.
const program = `package main

import (
	"fmt"
	"net/http"

	_ "github.com/moby/buildkit/client"
	_ "k8s.io/client-go/kubernetes"
	_ "sigs.k8s.io/kustomize/api/krusty"
)

const version = "%s"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, version) })
	http.ListenAndServe(":18084", nil)
}
`

// A line of a compiled service changes: from the save until the new process
// answers, beside the time that go build of that package takes alone.
func swap(ctx context.Context, r *rig, _ options) (rows []result, err error) {
	p, err := r.newProject("swap")
	if err != nil {
		return nil, err
	}
	if err := p.declare(service{name: "api", replicas: 1, host: true, golang: true}); err != nil {
		return nil, err
	}
	if err := p.module("api"); err != nil {
		return nil, err
	}
	source := func(version string) error { return p.file("api/main.go", fmt.Sprintf(program, version)) }
	if err := source("first"); err != nil {
		return nil, err
	}
	down, err := p.up(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	const port = 18084
	if err := p.answers(ctx, port, "first"); err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second) // the first version is copied aside to make patches from
	out := filepath.Join(p.root, "alone")
	var took, alone, sent []float64
	if _, err := p.goBuild(ctx, out, fmt.Sprintf(program, "warm")); err != nil {
		return nil, err
	}
	for i := range 8 {
		version := fmt.Sprintf("%s-%d", p.name, i)
		before := p.wire.now()
		start := time.Now()
		if err := source(version); err != nil {
			return rows, err
		}
		// Asked every millisecond, as elsewhere, the service would take the processor from the compiler.
		if err := p.answersWithin(ctx, port, version, 20*time.Millisecond); err != nil {
			return rows, fmt.Errorf("%w\n%s", err, p.said())
		}
		took = append(took, ms(time.Since(start)))
		sent = append(sent, float64(p.wire.now().since(before).sent))
		d, err := p.goBuild(ctx, out, fmt.Sprintf(program, version+"-bare"))
		if err != nil {
			return rows, err
		}
		alone = append(alone, ms(d))
	}
	info, err := os.Stat(out)
	if err != nil {
		return rows, err
	}
	size := float64(info.Size())
	return []result{
		shown("Go service: size of the binary", size/1e6, "MB"),
		shown("Go service: one line -> the new process answers, p50", median(took), "ms").with(took),
		shown("Go service: go build alone, p50", median(alone), "ms").with(alone),
		atMost("Go service: over go build alone", median(took)-median(alone), "ms", 300),
		atMost("Go service: of the binary on the wire", quantile(sent, 1)/size*100, "%", 2).with(sent),
	}, nil
}

// goBuild compiles another version in a folder beside the project.
func (p *project) goBuild(ctx context.Context, out, source string) (time.Duration, error) {
	dir := filepath.Join(p.root, "bare")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(p.dir, "api", name))
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return 0, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	start := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, text)
	}
	return time.Since(start), nil
}

var moduleLine = regexp.MustCompile(`(?m)^module .*$`)

// module gives a folder the requirements of kdev itself, whose packages this
// machine has.
func (p *project) module(folder string) error {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return err
	}
	file := strings.TrimSpace(string(mod))
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("run it in a checkout of kdev: %w", err)
	}
	sums, err := os.ReadFile(strings.TrimSuffix(file, ".mod") + ".sum")
	if err != nil {
		return err
	}
	return p.files(map[string]string{
		folder + "/go.mod": moduleLine.ReplaceAllString(string(text), "module bench.example/api"),
		folder + "/go.sum": string(sums),
	})
}
