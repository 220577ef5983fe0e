package assemble

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// An old BuildKit passes by what it does not know of a copy: --exclude and
// --parents copy everything, --chmod leaves folders, setuid and letters alone. It
// fails of none of them. Such copies are done here, and the steps after
// one begin with an image that was assembled up to it.

// A Version is that of the BuildKit which runs steps.
type Version struct {
	Release int    // the 12 of 0.12; 0 where it is not known, which is before 0.11
	Name    string // for people: "Docker 20.10.24"
}

// The releases of BuildKit that do these copies as today's frontend means them.
const (
	patternsSince = 12 // --exclude, --parents, and --chmod of folders and of setuid
	lettersSince  = 20 // --chmod=u=rwX
)

// since is the release that does all of a step; 0 where every one does.
func since(v *vertex) int {
	release := 0
	for _, act := range v.op.GetFile().GetActions() {
		c := act.GetCopy()
		switch {
		case c == nil:
		case c.ModeStr != "":
			release = lettersSince
		case len(c.IncludePatterns)+len(c.ExcludePatterns) > 0, c.Mode != -1 && !(c.Mode <= 0o777 && fetched(v, act.SecondaryInput)):
			release = max(release, patternsSince)
		}
	}
	return release
}

// fetched says whether an input is a file of the net, whose mode is set by all.
func fetched(v *vertex, i int64) bool {
	if i < 0 || i >= int64(len(v.inputs)) {
		return false
	}
	src := v.inputs[i].op.GetSource()
	return src != nil && (strings.HasPrefix(src.Identifier, "http://") || strings.HasPrefix(src.Identifier, "https://"))
}

// needs is the release that v and all steps before it need, and the first
// step in the Dockerfile that needs one.
func needs(v *vertex) (release int, first *vertex) {
	seen := map[digest.Digest]bool{}
	var visit func(*vertex)
	visit = func(v *vertex) {
		if v == nil || seen[v.digest] {
			return
		}
		seen[v.digest] = true
		if n := since(v); n > 0 {
			release = max(release, n)
			if first == nil || v.line < first.line {
				first = v
			}
		}
		for _, in := range v.inputs {
			visit(in)
		}
	}
	visit(v)
	return release, first
}

// old says whether the engine is too old for a step up to v.
func (a *assembly) old(v *vertex) (bool, error) {
	release, _ := needs(v)
	if release == 0 || a.engine == nil {
		return false, nil
	}
	if a.version == nil {
		version, err := a.engine.Version(a.ctx)
		if err != nil {
			return false, err
		}
		a.version = &version
	}
	return a.version.Release < release, nil
}

// replaced says whether the engine gets an image in the place of v's result.
func (a *assembly) replaced(v *vertex) bool {
	return a.version != nil && since(v) > a.version.Release
}

// tooOld is the problem of a step that neither the engine does right nor kdev.
func (a *assembly) tooOld(v *vertex, why string) error {
	return &problem.Problem{
		Code: "engine-too-old", Where: a.where(v), Err: errors.New("kdev does not do it itself: " + why),
		Summary: fmt.Sprintf("%s needs BuildKit 0.%d, and %s has an older one", v.name, since(v), a.version.Name),
		Hint:    "use Docker 28 or newer, or another BuildKit: `buildkit: cluster` in kdev.yaml starts one in the cluster, `buildkit: tcp://HOST:1234` names one",
	}
}

// byParts makes the image of v where the engine is too old to build all of it:
// the engine runs what has to be run, and kdev does the rest.
func (a *assembly) byParts(v *vertex, r *Result) error {
	r.Rung = "assembled on layers of " + a.req.By
	_, first := needs(v)
	r.Why = fmt.Sprintf("%s: %s is too old for %s", a.where(first), a.version.Name, first.name)
	all, err := a.layersOf(v)
	if err != nil {
		return err
	}
	r.Engine = true
	if r.Manifest, err = a.image(all, nil); err != nil {
		return err
	}
	r.Digest = string(layout.DigestOf(r.Manifest))
	return nil
}

// layersOf are the layers that a step's result consists of, bottom first.
func (a *assembly) layersOf(v *vertex) ([]layer, error) {
	if v == nil {
		return nil, nil
	}
	if done, ok := a.layers[v.digest]; ok {
		return done, nil
	}
	all, err := a.layersNow(v)
	if err != nil {
		return nil, err
	}
	if a.states[v.digest] == nil {
		tree, err := a.req.Trees.of(a.store, all)
		if err != nil {
			return nil, err
		}
		a.states[v.digest] = &state{tree}
	}
	if a.layers == nil {
		a.layers = map[digest.Digest][]layer{}
	}
	a.layers[v.digest] = all
	return all, nil
}

func (a *assembly) layersNow(v *vertex) ([]layer, error) {
	if src := v.op.GetSource(); src != nil && isImage(src) {
		manifest, err := a.bases.manifest(a.ctx, trimImage(src.Identifier))
		if err != nil {
			return nil, err
		}
		return layers(a.store, manifest)
	}
	if v.op.GetFile() != nil {
		all, err := a.laid(v)
		if _, ok := IsUnsupported(err); !ok || a.replaced(v) {
			return all, a.orTooOld(v, err)
		}
	}
	manifest, _, err := a.heavy(v)
	if err != nil {
		return nil, err
	}
	return layers(a.store, manifest)
}

// orTooOld is the error of a step that the engine does not do right either.
func (a *assembly) orTooOld(v *vertex, err error) error {
	if u, ok := IsUnsupported(err); ok {
		return a.tooOld(v, u.What)
	}
	return err
}

// laid does a step that only changes files, on the layers of the one before.
func (a *assembly) laid(v *vertex) ([]layer, error) {
	below, err := a.layersOf(main(v))
	if err != nil {
		return nil, err
	}
	l, err := a.lay(v)
	if err != nil || l == nil {
		return below, err
	}
	return append(below[:len(below):len(below)], *l), nil
}

// offered is the result of a step as an image for the engine.
func (a *assembly) offered(v *vertex) (Given, error) {
	all, err := a.layersOf(v)
	if err != nil {
		return Given{}, err
	}
	raw, err := a.plain(all)
	if err != nil {
		return Given{}, err
	}
	return a.engine.Offer(a.ctx, a.req.Repository, raw)
}

// plain is the manifest of an image that consists of layers and says no more.
func (a *assembly) plain(all []layer) ([]byte, error) {
	p, err := platforms.Parse(a.req.Platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", a.req.Platform, err)
	}
	ids := []layout.Digest{}
	m := layout.Manifest{SchemaVersion: 2, MediaType: layout.OCIManifest, Layers: []layout.Descriptor{}}
	for _, l := range all {
		ids = append(ids, l.DiffID)
		m.Layers = append(m.Layers, ociLayer(l.Descriptor))
	}
	config, err := json.Marshal(map[string]any{
		"os": p.OS, "architecture": p.Architecture, "variant": p.Variant, "config": struct{}{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		return nil, err
	}
	return a.putManifest(m, config)
}

// source is the step that takes a given image.
func (g Given) source(platform *pb.Platform) *pb.Op {
	src := &pb.SourceOp{Identifier: "docker-image://" + g.Ref, Attrs: map[string]string{pb.AttrImageResolveMode: llb.ResolveModePreferLocal.String()}}
	g.into(src)
	return &pb.Op{Op: &pb.Op_Source{Source: src}, Platform: platform, Constraints: &pb.WorkerConstraints{}}
}

// ended is what a build ended with that the engine has to do all of, unless it
// is too old for that.
func (a *assembly) ended(err error) (*Result, error) {
	u, ok := IsUnsupported(err)
	if !ok || a.recipe == nil || a.recipe.graph.head == nil {
		return nil, err
	}
	head := a.recipe.graph.head
	old, verr := a.old(head)
	if p := problem.As(verr); p != nil && p.Code == "engine-missing" {
		return nil, err // whoever builds all of it says so better
	}
	if verr != nil {
		return nil, verr
	}
	if !old {
		return nil, err
	}
	if a.recipe.whole != "" {
		_, first := needs(head)
		return nil, a.tooOld(first, u.What)
	}
	r := &Result{}
	if err := a.byParts(head, r); err != nil {
		return nil, err
	}
	return r, nil
}
