package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
)

// A Request is one image to build.
type Request struct {
	Root       string // absolute; Where of problems is relative to it
	Context    string // absolute
	Dockerfile string // absolute
	Target     string
	Args       map[string]string
	Platform   string // "linux/amd64"
	Tag        string // what the engine calls the result until it is pushed
	// Bases are references that stand for images under the names that the
	// Dockerfile has for them.
	Bases   map[string]string
	Options Options

	text   []byte            // what is built where Bases stand in it; nil: the file as it is
	given  map[string]string // digests of images of the store, by the names that stand for them in text
	remote bool              // for a BuildKit that is not the engine's
}

// content is the Dockerfile as it is built.
func (r *Request) content() ([]byte, error) {
	if r.text != nil {
		return r.text, nil
	}
	return os.ReadFile(r.Dockerfile)
}

// rebase writes the Bases into the Dockerfile's text. To an engine a name that
// is given to an image is one for a stage too, and it has no such name at all
// where it knows no BuildKit.
func (r *Request) rebase() error {
	if len(r.Bases) == 0 {
		return nil
	}
	plan, err := dockerfile.Load(dockerfile.Options{Context: r.Context, Dockerfile: r.Dockerfile, Target: r.Target, Args: r.Args, Platform: r.Platform})
	if err != nil {
		return err
	}
	r.text, err = plan.Rebase(r.Bases)
	return err
}

// An Event is a step of a build or a line that it printed.
type Event struct {
	Step   string // "[webui 3/5] RUN npm ci"
	Line   string // a raw line of output, without its line end
	Done   bool
	Cached bool
	Took   time.Duration
}

// A Builder uses one engine.
type Builder struct{ docker *client.Client }

// New makes a builder for an engine; the client stays the caller's.
func New(docker *client.Client) *Builder { return &Builder{docker} }

// Build runs the Dockerfile and tags the result with req.Tag on the engine. It
// returns which of the engine's builders did it.
//
// A failing instruction is a problem build-failed with its place in the
// Dockerfile and the end of its output. Cancelling ctx stops the engine's work.
func (b *Builder) Build(ctx context.Context, req Request, progress func(Event)) (string, error) {
	if err := req.rebase(); err != nil {
		return "", err
	}
	kit, err := b.dial(ctx)
	if errors.Is(err, errNoBuildKit) {
		return "the engine's classic builder", b.classic(ctx, req, progress)
	}
	if err != nil {
		return "", explain(ctx, err)
	}
	defer kit.Close()
	return "the engine's BuildKit", b.solve(ctx, kit, req, progress)
}

// explain turns the engine's errors into what a person can act on.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if problem.As(err) != nil || errors.Is(err, errNoBuildKit) {
		return err
	}
	if client.IsErrConnectionFailed(err) {
		return &problem.Problem{
			Code: "engine-missing", Summary: "no Docker engine answers", Err: err,
			Hint: "start Docker, or set DOCKER_HOST to the engine's address",
		}
	}
	return fmt.Errorf("build in the engine: %w", err)
}

// Lacks says whether the error is that the engine has no BuildKit: Build then
// goes another way.
func (b *Builder) Lacks(err error) bool { return errors.Is(err, errNoBuildKit) }
