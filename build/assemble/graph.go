package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

// A vertex is one of BuildKit's steps.
type vertex struct {
	digest digest.Digest
	op     *pb.Op
	raw    []byte
	inputs []*vertex
	line   int    // in the Dockerfile; 0: none
	name   string // "COPY . .", as the Dockerfile has it
}

// A graph is what the frontend made of the Dockerfile.
type graph struct {
	def  *llb.Definition
	head *vertex // its result is the image; nil: the empty one
}

func newGraph(def *llb.Definition) (*graph, error) {
	g := &graph{def: def}
	all := map[digest.Digest]*vertex{}
	for _, raw := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(raw); err != nil {
			return nil, fmt.Errorf("read a build step: %w", err)
		}
		v := &vertex{digest: digest.FromBytes(raw), op: &op, raw: raw}
		for _, in := range op.Inputs {
			from := all[digest.Digest(in.Digest)]
			if from == nil {
				return nil, errors.New("a build step comes before its input")
			}
			if in.Index != 0 && op.Op != nil {
				// Results of a step other than its first: the writable mounts of
				// a RUN. Nothing light comes from there.
				from = &vertex{digest: from.digest, op: from.op, raw: from.raw, inputs: from.inputs, line: from.line, name: from.name}
			}
			v.inputs = append(v.inputs, from)
		}
		v.name = stepName(def.Metadata[v.digest].Description["llb.customname"], &op)
		if def.Source != nil {
			if l := def.Source.Locations[string(v.digest)]; l != nil && len(l.Locations) > 0 && len(l.Locations[0].Ranges) > 0 {
				v.line = int(l.Locations[0].Ranges[0].Start.Line)
			}
		}
		all[v.digest] = v
		g.head = v
	}
	// The last one only names the result.
	if g.head != nil && g.head.op.Op == nil {
		if len(g.head.inputs) != 1 {
			return nil, errors.New("the build has no single result")
		}
		g.head = g.head.inputs[0]
	}
	return g, nil
}

var stepPrefix = regexp.MustCompile(`^\[[^\]]*\] `)

// stepName is the frontend's name of a step without its number.
func stepName(custom string, op *pb.Op) string {
	name := strings.Join(strings.Fields(stepPrefix.ReplaceAllString(custom, "")), " ")
	if name == "" {
		name = "a step"
		if src := op.GetSource(); src != nil {
			name = "FROM " + src.Identifier
		}
	}
	if r := []rune(name); len(r) > 100 {
		name = string(r[:97]) + "..."
	}
	return name
}

// A chain is the final stage: light steps, first one first, on a root, which
// is an image, a heavy step, or nil for scratch.
type chain struct {
	root  *vertex
	light []*vertex
}

// chain walks from the result back to the first step that is not light.
func (g *graph) chain() chain {
	var c chain
	v := g.head
	for v != nil && light(v) {
		c.light = append(c.light, v)
		v = main(v)
	}
	slices.Reverse(c.light)
	c.root = v
	return c
}

// light says whether the step only changes files, and takes them from what
// needs no command to be run.
func light(v *vertex) bool {
	f := v.op.GetFile()
	if f == nil {
		return false
	}
	base := main(v)
	for _, in := range v.inputs {
		if in != base && !still(in) {
			return false
		}
	}
	for _, a := range f.Actions {
		switch a.Action.(type) {
		case *pb.FileAction_Copy, *pb.FileAction_Mkdir, *pb.FileAction_Mkfile:
		default:
			return false
		}
	}
	return true
}

// still says whether a tree is known without running anything.
func still(v *vertex) bool {
	switch op := v.op.Op.(type) {
	case *pb.Op_Source:
		return isImage(op.Source) || isContext(op.Source)
	case *pb.Op_File:
		return light(v) && (main(v) == nil || still(main(v)))
	default:
		return false
	}
}

func isImage(s *pb.SourceOp) bool   { return strings.HasPrefix(s.Identifier, "docker-image://") }
func isContext(s *pb.SourceOp) bool { return s.Identifier == "local://"+contextName }

// main is the vertex that a FileOp changes; nil for scratch. Its output comes
// from a row of actions, each on the result of the one before.
func main(v *vertex) *vertex {
	f := v.op.GetFile()
	at := int64(-1)
	for i, a := range f.Actions {
		if a.Output == 0 {
			at = int64(len(v.inputs) + i)
		}
	}
	for at >= int64(len(v.inputs)) {
		at = f.Actions[at-int64(len(v.inputs))].Input
	}
	if at < 0 {
		return nil
	}
	return v.inputs[at]
}

// identity is a hash of what a vertex computes: of all steps that lead to it,
// the configuration of the images that they begin with, and the files of the
// context that they read. It is the same in every folder and on every machine.
func (a *assembly) identity(v *vertex) (string, error) {
	return a.identityOf(v, map[digest.Digest]string{})
}

func (a *assembly) identityOf(v *vertex, done map[digest.Digest]string) (string, error) {
	if id, ok := done[v.digest]; ok {
		return id, nil
	}
	// A copy, so that inputs can be replaced by their identities.
	op := v.op.CloneVT()
	for i, in := range v.inputs {
		var id string
		var err error
		if src := in.op.GetSource(); src != nil && isContext(src) {
			id, err = a.readsOf(v, i)
		} else {
			id, err = a.identityOf(in, done)
		}
		if err != nil {
			return "", err
		}
		op.Inputs[i].Digest = id
	}
	extra := ""
	if since(v) > 0 {
		// Before kdev knew that an engine may be too old, it kept what one made of this.
		extra = "as today"
	}
	if src := v.op.GetSource(); src != nil {
		switch {
		case isImage(src):
			base, err := a.bases.known(strings.TrimPrefix(src.Identifier, "docker-image://"))
			if err != nil {
				return "", err
			}
			extra = base
		case isContext(src):
			return "", errors.New("the whole context is an image") // FROM context: not in a Dockerfile
		}
	}
	raw, err := marshal(op)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d:", len(raw))
	h.Write(raw)
	fmt.Fprintf(h, "%d:%s", len(extra), extra)
	id := hex.EncodeToString(h.Sum(nil))
	done[v.digest] = id
	return id, nil
}

// readsOf hashes what vertex v reads of the context, which is its input number i.
func (a *assembly) readsOf(v *vertex, i int) (string, error) {
	h := sha256.New()
	add := func(p string) error {
		lines, err := a.tree(p)
		if err != nil {
			return err
		}
		for _, l := range lines {
			fmt.Fprintf(h, "%d:%s", len(l), l)
		}
		return nil
	}
	switch op := v.op.Op.(type) {
	case *pb.Op_File:
		for _, act := range op.File.Actions {
			cp := act.GetCopy()
			if cp == nil || act.SecondaryInput != int64(i) {
				continue
			}
			sources, err := a.sources(cp)
			if err != nil {
				return "", err
			}
			for _, p := range sources {
				if err := add(p); err != nil {
					return "", err
				}
			}
		}
	case *pb.Op_Exec:
		for _, m := range op.Exec.Mounts {
			if m.Input == int64(i) {
				if err := add(m.Selector); err != nil {
					return "", err
				}
			}
		}
	default:
		if err := add("."); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// paths are what of the context the vertex and those before it read, for the
// engine to ask for no more.
func (a *assembly) paths(v *vertex) []string {
	var out []string
	seen := map[digest.Digest]bool{}
	var visit func(*vertex)
	visit = func(v *vertex) {
		if seen[v.digest] {
			return
		}
		seen[v.digest] = true
		for i, in := range v.inputs {
			if src := in.op.GetSource(); src == nil || !isContext(src) {
				if !a.replaced(in) {
					visit(in)
				}
				continue
			}
			switch op := v.op.Op.(type) {
			case *pb.Op_File:
				for _, act := range op.File.Actions {
					if cp := act.GetCopy(); cp != nil && act.SecondaryInput == int64(i) {
						out = append(out, cp.Src)
					}
				}
			case *pb.Op_Exec:
				for _, m := range op.Exec.Mounts {
					if m.Input == int64(i) {
						out = append(out, "/"+strings.TrimPrefix(m.Selector, "/"))
					}
				}
			}
		}
	}
	visit(v)
	slices.Sort(out)
	return slices.Compact(out)
}
