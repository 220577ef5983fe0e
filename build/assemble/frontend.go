package assemble

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/apicaps"
	digest "github.com/opencontainers/go-digest"

	"github.com/kdev-io/kdev/internal/problem"
)

// contextName is what the frontend calls the build context.
const contextName = "context"

// A recipe is a Dockerfile as BuildKit's frontend understands it.
type recipe struct {
	graph  *graph
	config map[string]json.RawMessage // the image's configuration document
	whole  string                     // why an engine has to build all of it; "": it has not
}

// understand runs the frontend. Its errors are problems with file and line.
func (a *assembly) understand() (*recipe, error) {
	platform, err := platforms.Parse(a.req.Platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", a.req.Platform, err)
	}
	if ref, _, at, ok := parser.DetectSyntax(a.req.Text); ok && !ownSyntax(ref) {
		u := &Unsupported{What: "the Dockerfile names a frontend of its own, " + ref}
		if len(at) > 0 {
			u.Line = at[0].Start.Line
		}
		return nil, u
	}
	hosts, err := extraHosts(a.req.Hosts)
	if err != nil {
		return nil, err
	}
	main := llb.Local(contextName, llb.WithCustomName("[internal] load build context"))
	res, err := dockerfile2llb.Dockerfile2LLB(a.ctx, a.req.Text, dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{
			BuildArgs: cloneArgs(a.req.Args), Target: a.req.Target, ImageResolveMode: llb.ResolveModePreferLocal,
			NetworkMode: network(a.req.Network), ExtraHosts: hosts,
		},
		MainContext:    &main,
		SourceMap:      llb.NewSourceMap(nil, a.req.Name, "Dockerfile", a.req.Text),
		TargetPlatform: &platform,
		MetaResolver:   a.bases,
		LLBCaps:        &caps,
		Warn:           func(string, string, string, string, []parser.Range) {},
	})
	if err != nil {
		return nil, a.located(err)
	}
	def, err := res.State.Marshal(a.ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.req.Name, err)
	}
	g, err := newGraph(def)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.req.Name, err)
	}
	raw, err := json.Marshal(res.Image)
	if err != nil {
		return nil, err
	}
	r := &recipe{graph: g}
	if _, ok := a.req.Args["SOURCE_DATE_EPOCH"]; ok {
		r.whole = "SOURCE_DATE_EPOCH is set"
	}
	return r, json.Unmarshal(raw, &r.config)
}

func network(mode string) pb.NetMode {
	switch mode {
	case "none":
		return pb.NetMode_NONE
	case "host":
		return pb.NetMode_HOST
	}
	return llb.NetModeSandbox
}

// extraHosts are in one order, so that equal ones give equal steps.
func extraHosts(byName map[string]string) ([]llb.HostIP, error) {
	var out []llb.HostIP
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		ip := net.ParseIP(byName[name])
		if ip == nil {
			return nil, fmt.Errorf("extra host %s: %q is no address", name, byName[name])
		}
		out = append(out, llb.HostIP{Host: strings.ToLower(name), IP: ip})
	}
	return out, nil
}

func ownSyntax(ref string) bool {
	ref = strings.TrimPrefix(ref, "docker.io/")
	name, _, _ := strings.Cut(ref, ":")
	return name == "docker/dockerfile" || name == "docker/dockerfile-upstream"
}

func cloneArgs(args map[string]string) map[string]string {
	out := make(map[string]string, len(args))
	for k, v := range args {
		out[k] = v
	}
	return out
}

// located is a problem at the line that the frontend names.
func (a *assembly) located(err error) error {
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	if problem.As(err) != nil {
		return err
	}
	if _, ok := IsUnsupported(err); ok {
		return err
	}
	p := &problem.Problem{Code: "build-failed", Summary: "the image could not be built", Where: a.req.Name, Err: errors.New(strings.TrimSpace(err.Error()))}
	var missing *noBase
	if errors.As(err, &missing) {
		p = a.bases.problem(missing)
		p.Where = a.req.Name
	}
	var l *parser.LocationError
	if errors.As(err, &l) && len(l.Locations) > 0 && len(l.Locations[0]) > 0 {
		p.Where = fmt.Sprintf("%s:%d", a.req.Name, l.Locations[0][0].Start.Line)
	}
	return p
}

// caps are what the steps may use: not MergeOp and its like, which engines of
// some years ago do not have; --link then is a plain copy with the same result.
var caps = func() apicaps.CapSet {
	all := pb.Caps.All()
	kept := all[:0]
	for _, c := range all {
		switch apicaps.CapID(c.ID) {
		case pb.CapMergeOp, pb.CapDiffOp, pb.CapExecMountBindReadWriteNoOutput:
		default:
			kept = append(kept, c)
		}
	}
	return pb.Caps.CapSet(kept)
}()

// ResolveImageConfig makes bases the frontend's resolver of FROM.
func (b *bases) ResolveImageConfig(ctx context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	base, err := b.get(ctx, ref)
	if err != nil {
		return "", "", nil, &noBase{ref, err}
	}
	// No digest: it would be pinned into the step, and the engine would look
	// for an image of that digest, which one that was loaded or built has not.
	return ref, "", bytes.Clone(base.Config), nil
}

// A noBase is an image of FROM or COPY --from that neither the engine nor this
// process can get.
type noBase struct {
	ref   string
	cause error
}

func (e *noBase) Error() string { return e.ref + ": " + e.cause.Error() }
func (e *noBase) Unwrap() error { return e.cause }
