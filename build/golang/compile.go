package golang

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/process"
)

// Compile makes the program's binary at out. go build leaves a binary that is
// current as it is. root is what places in problems are relative to.
func Compile(ctx context.Context, p Program, root, out string, line func(string)) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	// Without the state of the repository in it, equal sources give equal bytes.
	args := []string{"go", "build", "-trimpath", "-buildvcs=false"}
	if !slices.ContainsFunc(p.Flags, func(f string) bool { return strings.HasPrefix(strings.TrimLeft(f, "-"), "ldflags") }) {
		args = append(args, "-ldflags=-s -w")
	}
	args = append(append(args, p.Flags...), "-o", out, p.main())
	err := process.Run(ctx, process.Command{Args: args, Dir: p.Dir, Env: p.env()}, line)
	var f *process.Failure
	if !errors.As(err, &f) || f.Code < 1 || f.Code == 127 {
		return explain(err)
	}
	where := p.place(root, f.Tail)
	return &problem.Problem{
		Code: "build-failed", Where: where, Summary: "go build " + p.main() + " failed",
		Output: strings.Join(f.Tail, "\n"), Hint: hint(f.Tail), Err: nil,
	}
}

func hint(tail []string) string {
	text := strings.Join(tail, "\n")
	switch {
	case strings.Contains(text, "no required module provides package"), strings.Contains(text, "missing go.sum entry"), strings.Contains(text, "updates to go.mod needed"):
		return "run `go mod tidy` in that folder"
	case strings.Contains(text, "go.mod file not found"):
		return "the program needs a go.mod; build.go.main is relative to build.context"
	case strings.Contains(text, "-o: is a directory"), strings.Contains(text, "is not a main package"):
		return "build.go.main has to name a folder with `package main`"
	}
	return ""
}

var position = regexp.MustCompile(`^(?:vet: )?([^\s:]+\.go):(\d+)(?::\d+)?: `)

// place is where the first message points to, else the main package.
func (p Program) place(root string, tail []string) string {
	file, n := filepath.Join(p.Dir, filepath.FromSlash(p.Main)), ""
	for _, l := range tail {
		if m := position.FindStringSubmatch(l); m != nil {
			file, n = m[1], ":"+m[2]
			if !filepath.IsAbs(file) {
				file = filepath.Join(p.Dir, file)
			}
			break
		}
	}
	if rel, err := filepath.Rel(root, file); err == nil && filepath.IsLocal(rel) {
		file = rel
	}
	return filepath.ToSlash(file) + n
}

// explain turns what keeps go from running into a problem.
func explain(err error) error {
	var f *process.Failure
	if !errors.As(err, &f) {
		return err
	}
	if f.Code == 127 {
		return &problem.Problem{
			Code: "go-missing", Summary: "there is no go on this machine", Err: f.Err,
			Hint: "install Go and have it in the PATH, or build the service by a Dockerfile",
		}
	}
	return &problem.Problem{
		Code: "build-failed", Summary: "go cannot read the program's packages", Err: f.Err, Output: strings.Join(f.Tail, "\n"), Hint: hint(f.Tail),
	}
}

func (p Program) main() string {
	m := path.Clean("./" + filepath.ToSlash(p.Main))
	if m == "." || strings.HasPrefix(m, "../") || m == ".." {
		return m
	}
	return "./" + m
}

// env sets the platform; the project's own settings go last.
func (p Program) env() []string {
	goos, arch, _ := strings.Cut(p.Platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	env := []string{"GOOS=" + goos, "GOARCH=" + arch, "CGO_ENABLED=0"}
	if arch == "arm" && variant != "" {
		env = append(env, fmt.Sprintf("GOARM=%s", strings.TrimPrefix(variant, "v")))
	}
	return append(env, p.Env...)
}
