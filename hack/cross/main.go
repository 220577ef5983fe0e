// Command cross type-checks programs for systems that this machine is not: what
// kdev needs to compile for windows/arm64, say, without compiling it.
//
//	go run ./hack/cross ./cmd/kdev linux/arm64 darwin/arm64 windows/amd64
//	go run ./hack/cross -test ./watch,./internal/tree/... linux/arm64 darwin/arm64
//
// With -test their tests as well, as far as the platform has them.
//
// A build for five more platforms is an hour of a small machine's CPU on an empty
// cache. Nearly all that can go wrong beyond the build for this one is a name
// that a platform lacks, and the type checker finds that out: of the module's
// packages every function, of the libraries what they declare. `make cross`
// builds and links.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

func main() {
	tests := flag.Bool("test", false, "the tests of the packages too")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: cross [-test] PACKAGE[,PACKAGE…] OS/ARCH…")
		os.Exit(2)
	}
	flag.Parse()
	if flag.NArg() < 2 || !strings.Contains(flag.Arg(1), "/") {
		flag.Usage()
	}
	failed := false
	for _, platform := range flag.Args()[1:] {
		began := time.Now()
		if err := check(strings.Split(flag.Arg(0), ","), *tests, platform); err != nil {
			fmt.Printf("%s: %v\n", platform, err)
			failed = true
			continue
		}
		fmt.Printf("%s type-checks (%.1f s)\n", platform, time.Since(began).Seconds())
	}
	if failed {
		os.Exit(1)
	}
}

// A listed package is what `go list -json` says of it.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Imports         []string
	Module          *struct{ Main bool }
	Error           *struct{ Err string }
}

func check(patterns []string, tests bool, platform string) error {
	goos, goarch, _ := strings.Cut(platform, "/")
	args := []string{"list", "-deps", "-e", "-json=ImportPath,Dir,GoFiles,ImportMap,Imports,Module,Error"}
	if tests {
		args = append(args, "-test")
	}
	list := exec.Command("go", append(args, patterns...)...)
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	c := &checker{
		fset:  token.NewFileSet(),
		sizes: types.SizesFor("gc", goarch),
		done:  map[string]*result{"unsafe": {pkg: types.Unsafe, ready: closed()}},
	}
	var packages []*listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") { // the latter is a main that go test writes
			continue
		}
		if p.Error != nil {
			return errors.New(p.Error.Err)
		}
		packages = append(packages, p)
		c.done[p.ImportPath] = &result{ready: make(chan struct{})}
	}
	// Dependencies come first in the list, so with workers that take packages in
	// order each one waits only for packages that others are at.
	next := make(chan *listed)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for p := range next {
				c.check(p)
			}
		})
	}
	for _, p := range packages {
		next <- p
	}
	close(next)
	workers.Wait()
	var all []error
	for _, p := range packages {
		all = append(all, c.done[p.ImportPath].errs...)
	}
	return errors.Join(all...)
}

type checker struct {
	fset  *token.FileSet
	sizes types.Sizes
	done  map[string]*result // by import path; complete before the first check
}

type result struct {
	ready chan struct{}
	pkg   *types.Package
	errs  []error
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (c *checker) check(p *listed) {
	r := c.done[p.ImportPath]
	defer close(r.ready)
	ours := p.Module != nil && p.Module.Main
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		files = append(files, f)
	}
	conf := types.Config{
		Importer:         importer{c, p},
		IgnoreFuncBodies: !ours,
		FakeImportC:      true,
		Sizes:            c.sizes,
		Error:            func(err error) { r.errs = append(r.errs, err) },
	}
	r.pkg, _ = conf.Check(p.ImportPath, c.fset, files, nil)
}

// An importer finds what one package imports.
type importer struct {
	c *checker
	p *listed
}

func (i importer) Import(path string) (*types.Package, error) {
	if mapped, ok := i.p.ImportMap[path]; ok {
		path = mapped
	}
	r := i.c.done[path]
	if r == nil {
		return nil, fmt.Errorf("%s is not among the dependencies", path)
	}
	<-r.ready
	return r.pkg, nil
}
