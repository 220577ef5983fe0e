package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kdev-io/kdev/build/golang"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// Go is a program that is compiled on this machine and laid over a base, in one layer.
type Go struct {
	Main  string            // the main package's folder, relative to the context; empty: the context
	Flags []string          // of go build
	Env   map[string]string // for go build: CGO_ENABLED, GOEXPERIMENT …
	Base  string            // empty: GoBase; "scratch": nothing

	// What the program was made from when that was last asked. Copies of the
	// Spec share it: the session explains by it what a build has learned.
	known atomic.Pointer[golang.Listing]
	links atomic.Pointer[[]dataLink] // of kodata, from the same moment
}

// GoBase is what a Go program is laid over unless the project says otherwise:
// certificates, time zones, a user without rights.
const GoBase = "gcr.io/distroless/static-debian12:nonroot"

// Where a program and the static files beside it lie in the image. The second
// is where ko puts them, under the same variable.
const (
	goFolder   = "/app"
	dataFolder = "/var/run/ko"
	dataName   = "kodata"
	dataEnv    = "KO_DATA_PATH=" + dataFolder
)

func (g *Go) base() string {
	if g.Base == "" {
		return GoBase
	}
	return g.Base
}

func (g *Go) program(spec Spec) golang.Program {
	env := make([]string, 0, len(g.Env))
	for _, k := range sortedKeys(g.Env) {
		env = append(env, k+"="+g.Env[k])
	}
	return golang.Program{Dir: spec.Context, Main: g.Main, Flags: g.Flags, Env: env, Platform: spec.platform()}
}

func (g *Go) options(spec Spec) string {
	// The name too: it is the entrypoint's, and where a newer program is put.
	parts := []string{"go", "2", spec.platform(), path.Clean("./" + g.Main), g.program(spec).Name(), g.base(), "flags"}
	return digestOf(append(append(append(parts, g.Flags...), "env"), pairs(g.Env)...)...)
}

// inputs asks Go for the program's files. The toolchain is one of them, under
// its version as its path.
func (g *Go) inputs(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	l, err := golang.List(ctx, g.program(spec))
	if err != nil {
		return nil, err
	}
	g.known.Store(l)
	list := []Input{{Path: l.Toolchain}}
	for _, file := range l.Files {
		if list, err = appendInput(ctx, list, spec, idx, file); err != nil {
			return nil, err
		}
	}
	// A link is an input, and so is what it leads to.
	var links []dataLink
	err = followed(spec.Root, g.data(spec), func(_, real string, info fs.FileInfo) error {
		if info.IsDir() {
			return nil
		}
		list, err = appendInput(ctx, list, spec, idx, real)
		return err
	}, func(l dataLink) { links = append(links, l) })
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", g.data(spec), err)
	}
	for _, l := range links {
		if list, err = appendInput(ctx, list, spec, idx, l.link); err != nil {
			return nil, err
		}
	}
	g.links.Store(&links)
	slices.SortFunc(list, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(list), nil // two links may lead to one file
}

// appendInput adds a file of this machine; one that is gone by now is left out.
func appendInput(ctx context.Context, list []Input, spec Spec, idx *tree.Index, file string) ([]Input, error) {
	rel, err := filepath.Rel(spec.Context, file)
	if err != nil {
		return nil, err
	}
	in := Input{Path: filepath.ToSlash(rel)}
	x := idx
	p := ""
	if x != nil {
		if r, err := filepath.Rel(x.Root(), file); err == nil && filepath.IsLocal(r) {
			p = filepath.ToSlash(r)
		}
	}
	if p == "" { // of another module, outside of the project
		own, err := tree.Open(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		defer own.Close()
		x, p = own, filepath.Base(file)
	}
	e, ok, err := x.Stat(p)
	if err != nil || !ok {
		return list, err
	}
	in.Mode, in.Link = e.Mode, e.Link
	if e.IsRegular() {
		d, err := x.Hash(ctx, p)
		if errors.Is(err, fs.ErrNotExist) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("hash %s: %w", file, err)
		}
		in.Size, in.Digest = e.Size, d.String()
	}
	return append(list, in), nil
}

// A goBuilder compiles and lays the binary over the base.
type goBuilder struct {
	docker *dockerBuilder
	store  *registry.Store
	ep     *registry.Endpoint
	idx    *tree.Index
}

func (b *goBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	binary, unlock, err := compileGo(ctx, b.store, spec, progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	data, err := dataOutputs(ctx, spec)
	if err != nil {
		return nil, err
	}
	digest, err := b.image(ctx, spec, binary, data, progress)
	if err != nil {
		return nil, err
	}
	return &Result{Digest: digest, Rung: "compiled on this machine", Why: "no engine needed", Record: &Record{Outputs: []Output{binary}}}, nil
}

func (b *goBuilder) image(ctx context.Context, spec Spec, binary Output, data []Output, progress Progress) (string, error) {
	d, err := b.docker.begin(ctx, spec, spec.Go.base(), progress)
	if err != nil {
		return "", err
	}
	if len(data) > 0 {
		// Below the binary: it changes less often.
		if err := addOutputs(ctx, b.store, d, data, dataName); err != nil {
			return "", err
		}
		if err := d.set("Env", append(d.list("Env"), dataEnv)); err != nil {
			return "", err
		}
	}
	folder := Output{Path: goFolder, Mode: fs.ModeDir | 0o755}
	if err := addOutputs(ctx, b.store, d, []Output{folder, binary}, "go build "+path.Clean("./"+spec.Go.Main)); err != nil {
		return "", err
	}
	if err := d.set("Entrypoint", []string{binary.Path}); err != nil {
		return "", err
	}
	delete(d.config, "Cmd")
	return b.docker.end(ctx, spec, d)
}

// addOutputs lays a layer of outputs over an image.
func addOutputs(ctx context.Context, store *registry.Store, d *imageDoc, list []Output, createdBy string) error {
	l, err := outputLayer(ctx, store, list)
	if err != nil {
		var changed *fs.PathError
		if errors.As(err, &changed) && errors.Is(err, fs.ErrNotExist) {
			return &problem.Problem{Code: "file-unsteady", Summary: "an output of the build went away while it was read", Err: err, Hint: "does something else build into the same folder?"}
		}
		return err
	}
	return d.add(l, layout.Digest(l.Digest), createdBy)
}

// A goRecipe says what files mean to a Go program: by what Go last said, and
// before it said anything by their names.
type goRecipe struct {
	nothing
	spec Spec
}

func loadGo(spec Spec) Recipe {
	return &goRecipe{nothing{ignore: ignore.Nothing(), bases: baseList(spec.Go.base())}, spec}
}

func (r *goRecipe) Explain(file string) dockerfile.Verdict {
	if r.linked(file) {
		return dockerfile.Verdict{Action: dockerfile.Rebuild, Why: "a link in " + dataName + " leads to it"}
	}
	if rest, ok := strings.CutPrefix(file, r.data()+"/"); ok {
		dest := path.Join(dataFolder, rest)
		return dockerfile.Verdict{Action: dockerfile.Sync, Dests: []string{dest}, Why: dataName + " puts it at " + dest}
	}
	l := r.spec.Go.known.Load()
	switch {
	case l == nil && !golang.IsSource(path.Base(file)) && path.Base(file) != golang.Profile, l != nil && !r.reads(l, file):
		return dockerfile.Verdict{Why: "the program is not made from it"}
	}
	return dockerfile.Verdict{Action: dockerfile.Rebuild, Why: "the program is compiled from it"}
}

func (r *goRecipe) reads(l *golang.Listing, file string) bool {
	// The toolchain, an input whose path is no file's.
	return strings.HasPrefix(file, "go1.") || strings.HasPrefix(file, "devel ") || l.Reads(filepath.Join(r.spec.Context, filepath.FromSlash(file)))
}

// linked says whether a file is in the image through a link of kodata, or is a link there.
func (r *goRecipe) linked(file string) bool {
	abs := filepath.Join(r.spec.Context, filepath.FromSlash(file))
	if strings.HasPrefix(file, r.data()+"/") {
		if info, err := os.Lstat(abs); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return true // it may be new
		}
	}
	links := r.spec.Go.links.Load()
	if links == nil {
		return false
	}
	return slices.ContainsFunc(*links, func(l dataLink) bool { return abs == l.link || l.leads(abs) })
}

// data is the folder of static files in the context.
func (r *goRecipe) data() string {
	return path.Join(path.Clean(filepath.ToSlash(r.spec.Go.Main)), dataName)
}

func (r *goRecipe) Placements(ctx context.Context, x *tree.Index) (map[string]dockerfile.Placement, error) {
	places := map[string]dockerfile.Placement{}
	dir, err := filepath.Rel(x.Root(), filepath.Join(r.spec.Context, filepath.FromSlash(r.data())))
	if err != nil || !filepath.IsLocal(dir) {
		return places, err
	}
	dir = filepath.ToSlash(dir)
	if e, ok, err := x.Stat(dir); err != nil || !ok || !e.IsDir() {
		return places, err
	}
	return places, tree.Walk(ctx, x, dir, nil, func(e tree.Entry) error {
		if e.Mode&fs.ModeSymlink != 0 {
			return nil // the image has what it leads to
		}
		places[path.Join(dataFolder, strings.TrimPrefix(e.Path, dir))] = dockerfile.Placement{Local: e.Path, Entry: e}
		return nil
	})
}

// Sources are the folders of the program's packages, as far as they are known.
func (r *goRecipe) Sources() []string {
	l := r.spec.Go.known.Load()
	if l == nil {
		return nil
	}
	var out []string
	for _, dir := range l.Dirs() {
		if rel, err := filepath.Rel(r.spec.Context, dir); err == nil {
			out = append(out, filepath.ToSlash(rel))
		}
	}
	return out
}
