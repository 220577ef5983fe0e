package assemble

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/moby/buildkit/solver/pb"
)

// apply does a light step and returns what it changes.
func (a *assembly) apply(v *vertex) (*overlay, error) {
	f := v.op.GetFile()
	values := make([]*overlay, len(f.Actions))
	used := map[int64]bool{}
	at := func(i int64) (fsys, error) {
		switch n := int64(len(v.inputs)); {
		case i < 0:
			return emptyFS{}, nil
		case i < n:
			return a.eval(v.inputs[i])
		case i-n < int64(len(values)) && values[i-n] != nil:
			return values[i-n], nil
		default:
			return nil, errors.New("a build step uses a result before it is there")
		}
	}
	var out *overlay
	for i, act := range f.Actions {
		in, err := at(act.Input)
		if err != nil {
			return nil, err
		}
		o, same := in.(*overlay)
		if act.Input < int64(len(v.inputs)) {
			o = newOverlay(in)
		} else if !same || used[act.Input] {
			return nil, unsupported("a step whose result is used twice")
		}
		used[act.Input] = true
		if err := a.act(act, o, at); err != nil {
			return nil, err
		}
		values[i] = o
		if act.Output == 0 {
			out = o
		}
	}
	if out == nil {
		return nil, errors.New("a build step has no result")
	}
	a.states[v.digest] = &state{out}
	return out, nil
}

func (a *assembly) act(act *pb.FileAction, o *overlay, at func(int64) (fsys, error)) error {
	secondary := act.SecondaryInput
	switch act := act.Action.(type) {
	case *pb.FileAction_Mkdir:
		u, err := owner(act.Mkdir.Owner, at, a.read)
		if err != nil {
			return err
		}
		return mkdirAction(o, act.Mkdir, u)
	case *pb.FileAction_Mkfile:
		u, err := owner(act.Mkfile.Owner, at, a.read)
		if err != nil {
			return err
		}
		return mkfileAction(o, act.Mkfile, u)
	case *pb.FileAction_Copy:
		from, err := at(secondary)
		if err != nil {
			return err
		}
		u, err := owner(act.Copy.Owner, at, a.read)
		if err != nil {
			return err
		}
		return copyAction(a.ctx, from, o, act.Copy, u, a.archive)
	default:
		return unsupported("a step that is neither copy, mkdir nor mkfile")
	}
}

// eval is the tree that a vertex results in.
func (a *assembly) eval(v *vertex) (fsys, error) {
	if s := a.states[v.digest]; s != nil {
		return s.tree, nil
	}
	if src := v.op.GetSource(); src != nil {
		if isContext(src) {
			return a.source, nil
		}
		if !isImage(src) {
			return nil, unsupported("a source that is no image: " + src.Identifier)
		}
		manifest, err := a.bases.manifest(a.ctx, trimImage(src.Identifier))
		if err != nil {
			return nil, err
		}
		all, err := layers(a.store, manifest)
		if err != nil {
			return nil, err
		}
		tree, err := a.req.Trees.of(a.store, all)
		if err != nil {
			return nil, err
		}
		a.states[v.digest] = &state{tree}
		return tree, nil
	}
	if light(v) {
		return a.apply(v)
	}
	if a.version == nil {
		return nil, &Unsupported{What: v.name, Line: v.line}
	}
	if _, err := a.layersOf(v); err != nil {
		return nil, err
	}
	return a.states[v.digest].tree, nil
}

// archive says whether ADD would unpack the file. Whatever is compressed may
// be one, and is left to the engine.
func (a *assembly) archive(n *node) (bool, error) {
	if n.Content.Context == "" {
		return true, nil
	}
	f, err := a.open(n.Content.Context)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	head, err := r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true, nil
		}
	}
	_, err = tar.NewReader(r).Next()
	return err == nil, nil
}

// sources are the paths of the context that a copy reads.
func (a *assembly) sources(c *pb.FileActionCopy) ([]string, error) {
	if !c.AllowWildcard {
		return []string{cleanPath(c.Src)}, nil
	}
	return (&copier{ctx: a.ctx, src: a.source, action: c}).wildcards(cleanPath(c.Src))
}

// tree lists what is at p of the context and below, a line for each with all
// that a copy takes over.
func (a *assembly) tree(p string) ([]string, error) {
	p, err := resolve(a.source, p)
	if err != nil {
		return nil, err
	}
	n, err := a.source.lstat(p)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return []string{p + " absent"}, nil
	}
	line := fmt.Sprintf("%s %s %s ", p, n.Mode, n.Link)
	if n.isRegular() {
		d, err := a.hash(p)
		if err != nil {
			return nil, err
		}
		line += d
	}
	lines := []string{line}
	if !n.isDir() {
		return lines, nil
	}
	names, err := a.source.readDir(p)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		below, err := a.tree(path.Join(p, name))
		if err != nil {
			return nil, err
		}
		lines = append(lines, below...)
	}
	return lines, nil
}
