package assemble

import (
	"encoding/json"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// A Solve is a part of a build for an engine.
type Solve struct {
	Definition *llb.Definition
	Context    string // the folder behind local://context
	Repository string // where in the store the result goes
	Name       string // of the Dockerfile, for people
	Text       []byte
}

// part is the definition whose result is vertex v. The context's source
// learns what is ignored and what is read, so that the engine asks for no more;
// since a step is named by its hash, every step after it gets a new name.
func (a *assembly) part(v *vertex) (*llb.Definition, error) {
	p := &parts{from: a.recipe.graph.def, names: map[digest.Digest]digest.Digest{}, out: &llb.Definition{
		Metadata: map[digest.Digest]llb.OpMetadata{}, Constraints: a.recipe.graph.def.Constraints,
		Source: &pb.Source{Locations: map[string]*pb.Locations{}},
	}}
	if src := p.from.Source; src != nil {
		p.out.Source.Infos = src.Infos
	}
	paths, err := json.Marshal(a.paths(v))
	if err != nil {
		return nil, err
	}
	p.images, p.top = a.bases.given, v
	p.offered = func(v *vertex) (*Given, error) {
		if !a.replaced(v) {
			return nil, nil
		}
		g, err := a.offered(v)
		return &g, err
	}
	platform, err := platforms.Parse(a.req.Platform)
	if err != nil {
		return nil, err
	}
	p.platform = &pb.Platform{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant}
	p.attrs = map[string]string{
		pb.AttrSharedKeyHint: contextName,
		pb.AttrFollowPaths:   string(paths),
	}
	if len(a.req.Excludes) > 0 {
		excludes, err := json.Marshal(a.req.Excludes)
		if err != nil {
			return nil, err
		}
		p.attrs[pb.AttrExcludePatterns] = string(excludes)
	}
	name, err := p.add(v)
	if err != nil {
		return nil, err
	}
	last, err := marshal(&pb.Op{Inputs: []*pb.Input{{Digest: string(name)}}})
	if err != nil {
		return nil, err
	}
	p.out.Def = append(p.out.Def, last)
	p.out.Metadata[digest.FromBytes(last)] = llb.OpMetadata{}
	return p.out, nil
}

// marshal gives equal bytes for equal steps: maps are sorted.
func marshal(op *pb.Op) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(op)
}

type parts struct {
	from, out *llb.Definition
	attrs     map[string]string
	images    map[string]Given                // what stands for images, by full reference
	names     map[digest.Digest]digest.Digest // old name to new

	top      *vertex
	offered  func(*vertex) (*Given, error) // an image in the place of a step's result; nil: none
	platform *pb.Platform
}

func (p *parts) add(v *vertex) (digest.Digest, error) {
	if name, ok := p.names[v.digest]; ok {
		return name, nil
	}
	if v != p.top {
		g, err := p.offered(v)
		if err != nil {
			return "", err
		}
		if g != nil {
			return p.put(v, g.source(p.platform), llb.OpMetadata{Description: map[string]string{"llb.customname": "[internal] " + v.name}})
		}
	}
	op := v.op.CloneVT()
	for i, in := range v.inputs {
		name, err := p.add(in)
		if err != nil {
			return "", err
		}
		op.Inputs[i].Digest = string(name)
	}
	if src := op.GetSource(); src != nil && isContext(src) {
		if src.Attrs == nil {
			src.Attrs = map[string]string{}
		}
		for k, val := range p.attrs {
			src.Attrs[k] = val
		}
	}
	if src := op.GetSource(); src != nil && isImage(src) {
		if g, ok := p.images[trimImage(src.Identifier)]; ok {
			g.into(src)
		}
	}
	return p.put(v, op, p.from.Metadata[v.digest])
}

// into makes the image the source's.
func (g Given) into(src *pb.SourceOp) {
	src.Identifier = "docker-image://" + g.Ref
	if g.Layout != "" {
		src.Identifier = "oci-layout://kdev.invalid/" + g.Layout + "@" + g.Digest
		src.Attrs = map[string]string{pb.AttrOCILayoutStoreID: g.Layout}
	}
}

// put enters what stands for vertex v.
func (p *parts) put(v *vertex, op *pb.Op, meta llb.OpMetadata) (digest.Digest, error) {
	raw, err := marshal(op)
	if err != nil {
		return "", err
	}
	name := digest.FromBytes(raw)
	p.names[v.digest] = name
	p.out.Def = append(p.out.Def, raw)
	p.out.Metadata[name] = meta
	if p.from.Source != nil {
		if l, ok := p.from.Source.Locations[string(v.digest)]; ok {
			p.out.Source.Locations[string(name)] = l
		}
	}
	return name, nil
}
