package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/moby/client"
	"github.com/tonistiigi/fsutil"

	buildkit "github.com/moby/buildkit/client"

	"github.com/kdev-io/kdev/internal/problem"
)

// What an assembly asks of an engine: single images and single steps.

// ImageID is the engine's ID of an image that it holds, or "" where it does
// not, or does not answer: the caller then goes by what it remembers.
func (b *Builder) ImageID(ctx context.Context, ref string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := b.docker.ImageInspect(ctx, ref)
	if err != nil {
		return ""
	}
	return r.ID
}

// ImageConfig is the configuration document of an image that the engine holds
// or can pull.
func (b *Builder) ImageConfig(ctx context.Context, ref, platform string) ([]byte, error) {
	p, err := platforms.Parse(platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", platform, err)
	}
	kit, err := b.dial(ctx)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer kit.Close()
	var config []byte
	opt := buildkit.SolveOpt{Session: credentialsOnly()}
	_, err = kit.Build(ctx, opt, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		var err error
		_, _, config, err = c.ResolveImageConfig(ctx, ref, sourceresolver.Opt{
			ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &p, ResolveMode: llb.ResolveModePreferLocal.String()},
		})
		return gateway.NewResult(), err
	}, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, cause(err)
	}
	return config, nil
}

// TagImage gives an image that the engine holds another name, for Push.
func (b *Builder) TagImage(ctx context.Context, ref, platform, tag string) error {
	r, err := b.docker.ImageInspect(ctx, ref)
	if err != nil {
		return explain(ctx, fmt.Errorf("look for %s: %w", ref, err))
	}
	if p := r.Os + "/" + r.Architecture; platform != "" && p != platform && platforms.Normalize(platforms.MustParse(platform)).Architecture != r.Architecture {
		return &problem.Problem{
			Code: "base-platform", Summary: fmt.Sprintf("the engine holds %s for %s, and %s is needed", ref, p, platform),
			Hint: "docker pull --platform " + platform + " " + ref,
		}
	}
	if _, err := b.docker.ImageTag(ctx, client.ImageTagOptions{Source: r.ID, Target: tag}); err != nil {
		return explain(ctx, fmt.Errorf("tag %s: %w", ref, err))
	}
	return nil
}

// Solve runs a part of a build and tags what results; the configuration of
// that image is of no use, its layers are.
func (b *Builder) Solve(ctx context.Context, def *llb.Definition, req Request, progress func(Event)) error {
	kit, err := b.dial(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	defer kit.Close()
	opt, err := solveOpt(req)
	if err != nil {
		return err
	}
	opt.FrontendAttrs = nil
	opt.LocalMounts = map[string]fsutil.FS{"context": opt.LocalMounts["context"]}
	_, err = follow(ctx, kit, req, progress, func(statuses chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error) {
		return kit.Solve(ctx, def, opt, statuses)
	})
	return err
}
