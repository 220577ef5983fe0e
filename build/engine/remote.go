package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/platforms"
	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/tonistiigi/fsutil"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A Dialer connects to a BuildKit that is not part of an engine. Its errors are
// problems.
type Dialer interface {
	Dial(ctx context.Context) (*buildkit.Client, error)
	String() string // "BuildKit at tcp://builder.corp:1234"
}

// A Remote builds in a BuildKit that is not part of an engine, on this machine or
// anywhere. It pulls what builds begin with itself; what it makes comes through
// the session into the store, layers that are there excepted.
type Remote struct {
	dialer Dialer
	store  *registry.Store
}

// NewRemote makes one; the store stays the caller's.
func NewRemote(d Dialer, store *registry.Store) *Remote { return &Remote{d, store} }

func (r *Remote) String() string { return r.dialer.String() }

// StoreName is what a session calls the store: images of it are sources of a build
// as oci-layout://StoreName@DIGEST.
const StoreName = "kdev"

// Build runs the Dockerfile and returns the digest of the image's manifest, which
// is in the store with all that it needs, and how many bytes the store did not
// have. given are digests of images of the store, by the names that the Dockerfile
// has for them. Failures and cancellation are as with [Builder.Build].
func (r *Remote) Build(ctx context.Context, req Request, given map[string]string, progress func(Event)) (digest string, received int64, err error) {
	req.remote, req.given, req.Bases = true, map[string]string{}, map[string]string{}
	for i, base := range slices.Sorted(maps.Keys(given)) {
		// A name that no stage and no registry has.
		name := fmt.Sprintf("kdev.invalid/image%d:given", i)
		req.Bases[base], req.given[name] = name, given[base]
	}
	if err := req.rebase(); err != nil {
		return "", 0, err
	}
	opt, into, err := r.opt(req)
	if err != nil {
		return "", 0, err
	}
	return r.run(ctx, req, into, progress, func(kit *buildkit.Client, statuses chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error) {
		return kit.Build(ctx, opt, "", builder.Build, statuses)
	})
}

// Solve runs a part of a build; the configuration of the image that results is of
// no use, its layers are.
func (r *Remote) Solve(ctx context.Context, def *llb.Definition, req Request, progress func(Event)) (digest string, received int64, err error) {
	req.remote = true
	opt, into, err := r.opt(req)
	if err != nil {
		return "", 0, err
	}
	opt.FrontendAttrs = nil
	opt.LocalMounts = map[string]fsutil.FS{"context": opt.LocalMounts["context"]}
	return r.run(ctx, req, into, progress, func(kit *buildkit.Client, statuses chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error) {
		return kit.Solve(ctx, def, opt, statuses)
	})
}

// opt is what a solve takes beside its steps.
func (r *Remote) opt(req Request) (buildkit.SolveOpt, *blobs, error) {
	opt, err := solveOpt(req)
	if err != nil {
		return opt, nil, err
	}
	// There are no images but those of registries.
	delete(opt.FrontendAttrs, "image-resolve-mode")
	for name, digest := range req.given {
		opt.FrontendAttrs["context:"+name] = "oci-layout://" + StoreName + "@" + digest
	}
	into := &blobs{store: r.store}
	into.attach(&opt)
	return opt, into, nil
}

// attach lets a solve read the store, and leave its result there.
func (b *blobs) attach(opt *buildkit.SolveOpt) {
	opt.OCIStores = map[string]content.Store{StoreName: b}
	// Not as a tar file, which would hold every layer each time.
	opt.Exports = []buildkit.ExportEntry{{Type: buildkit.ExporterOCI, Attrs: map[string]string{"tar": "false"}, OutputStore: b}}
}

func (r *Remote) run(ctx context.Context, req Request, into *blobs, progress func(Event), solve func(*buildkit.Client, chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error)) (string, int64, error) {
	kit, err := r.dialer.Dial(ctx)
	if err != nil {
		return "", 0, err
	}
	defer kit.Close()
	resp, err := follow(ctx, kit, req, progress, func(statuses chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error) {
		return solve(kit, statuses)
	})
	if err != nil {
		return "", 0, err
	}
	digest, err := r.digest(resp)
	return digest, into.received.Load(), err
}

// digest is what BuildKit says that it has exported.
func (r *Remote) digest(resp *buildkit.SolveResponse) (string, error) {
	digest, err := layout.ParseDigest(resp.ExporterResponse[exptypes.ExporterImageDigestKey])
	if err != nil {
		return "", fmt.Errorf("%s named no digest of what it built: %w", r, err)
	}
	return string(digest), nil
}

// ImageConfig is the configuration document of an image that BuildKit can pull.
func (r *Remote) ImageConfig(ctx context.Context, ref, platform string) (config []byte, err error) {
	_, err = r.pull(ctx, ref, platform, buildkit.SolveOpt{Session: credentialsOnly()}, func(_ context.Context, _ gateway.Client, _ llb.State, doc []byte) (*gateway.Result, error) {
		config = doc
		return gateway.NewResult(), nil
	})
	return config, err
}

// Image puts an image that BuildKit can pull into the store: its layers as they
// are, its manifest as BuildKit writes it.
func (r *Remote) Image(ctx context.Context, ref, platform string) (digest string, received int64, err error) {
	into := &blobs{store: r.store}
	opt := buildkit.SolveOpt{Session: credentialsOnly()}
	into.attach(&opt)
	resp, err := r.pull(ctx, ref, platform, opt, func(ctx context.Context, c gateway.Client, st llb.State, doc []byte) (*gateway.Result, error) {
		def, err := st.Marshal(ctx)
		if err != nil {
			return nil, err
		}
		result, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
		if err == nil {
			result.AddMeta(exptypes.ExporterImageConfigKey, doc)
		}
		return result, err
	})
	if err != nil {
		return "", 0, err
	}
	digest, err = r.digest(resp)
	return digest, into.received.Load(), err
}

// pull resolves an image and lets use make something of it.
func (r *Remote) pull(ctx context.Context, ref, platform string, opt buildkit.SolveOpt, use func(context.Context, gateway.Client, llb.State, []byte) (*gateway.Result, error)) (*buildkit.SolveResponse, error) {
	p, err := platforms.Parse(platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", platform, err)
	}
	kit, err := r.dialer.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer kit.Close()
	resp, err := kit.Build(ctx, opt, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		_, _, doc, err := c.ResolveImageConfig(ctx, ref, sourceresolver.Opt{ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &p}})
		if err != nil {
			return nil, err
		}
		return use(ctx, c, llb.Image(ref, llb.Platform(p)), doc)
	}, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, cause(err)
	}
	return resp, nil
}
