package build

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/build/golang"
	"github.com/kdev-io/kdev/internal/registry"
)

// A Compiler makes what a build on this machine puts into an image, and no image:
// for containers that run and can be given it. It is safe for concurrent use;
// cancelling the context ends the work.
type Compiler interface {
	// Compile returns what was made, sorted by path, without folders. The files
	// stay as they are until the next Compile or Build of the service.
	Compile(ctx context.Context, spec Spec, progress Progress) ([]Output, error)
	// Learn asks anew what the program is made from and says whether that is
	// something else than before: it decides which saves ask for a Compile.
	Learn(ctx context.Context, spec Spec) (changed bool, err error)
}

// Compiles says whether a Compiler can make the Spec.
func (s Spec) Compiles() bool {
	return s.Go != nil || s.Command != nil && s.Command.Output != "" && s.Command.To != ""
}

// NewCompiler returns a Compiler that keeps programs beside the store, where builds
// have them too.
func NewCompiler(store *registry.Store) Compiler {
	return &compiler{store, make(chan struct{}, max(2, runtime.NumCPU()))}
}

type compiler struct {
	store *registry.Store
	slots chan struct{}
}

func (c *compiler) Compile(ctx context.Context, spec Spec, progress Progress) ([]Output, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.slots }()
	switch {
	case spec.Go != nil:
		binary, unlock, err := compileGo(ctx, c.store, spec, progress)
		if err != nil {
			return nil, err
		}
		unlock()
		return []Output{binary}, nil
	case spec.Compiles():
		list, err := spec.Command.made(ctx, spec, progress)
		return files(list), err
	}
	return nil, fmt.Errorf("%s has nothing to compile", spec.Service)
}

func (c *compiler) Learn(ctx context.Context, spec Spec) (bool, error) {
	if spec.Go == nil {
		return false, nil // its patterns say it
	}
	old := spec.Go.known.Load()
	l, err := golang.List(ctx, spec.Go.program(spec))
	if err != nil {
		return false, err
	}
	spec.Go.known.Store(l)
	return old == nil || !slices.Equal(old.Files, l.Files), nil
}

// AsMade says whether the files on this machine are still what a build made: a
// newer build of the service writes to the same places.
func AsMade(list []Output) bool {
	for _, o := range list {
		if !o.Mode.IsRegular() {
			continue
		}
		if sum, err := digestOfFile(o.Local); err != nil || sum != o.Digest {
			return false
		}
	}
	return true
}

// compileGo makes the binary and keeps others from writing to it until unlock.
func compileGo(ctx context.Context, store *registry.Store, spec Spec, progress Progress) (binary Output, unlock func(), err error) {
	p := spec.Go.program(spec)
	// One place for each program, so that go build can see that it is current;
	// and one build of it at a time, whichever process asks.
	id := digestOf("go", spec.Root, spec.Service, spec.Context, spec.Go.Main, spec.platform())[:16]
	release, err := store.Lock(ctx, "go-"+id)
	if err != nil {
		return binary, nil, err
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	out := filepath.Join(store.Dir(), "outputs", id, p.Name())
	start := time.Now()
	step := "go build " + path.Clean("./"+spec.Go.Main)
	progress.send(spec, Event{Step: step})
	if err := golang.Compile(ctx, p, spec.Root, out, func(l string) { progress.send(spec, Event{Step: step, Line: l}) }); err != nil {
		return binary, nil, err
	}
	progress.send(spec, Event{Step: step, Done: true, Took: time.Since(start).Round(time.Millisecond)})
	list, err := outputs(ctx, out, path.Join(goFolder, p.Name()))
	if err != nil {
		return binary, nil, err
	}
	binary = list[0]
	binary.Mode = 0o755
	return binary, release, nil
}

// made runs the command and lists what it made, as it lies in the image, folders
// included.
func (c *Command) made(ctx context.Context, spec Spec, progress Progress) ([]Output, error) {
	out, err := c.output(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	to := path.Clean(c.To)
	if info, err := os.Stat(out); err != nil {
		return nil, err
	} else if !info.IsDir() && strings.HasSuffix(c.To, "/") {
		to = path.Join(to, filepath.Base(out))
	}
	list, err := outputs(ctx, out, to)
	if err != nil {
		return nil, fmt.Errorf("read what the build command made: %w", err)
	}
	return list, nil
}
