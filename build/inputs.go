package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/embedded"
	"github.com/kdev-io/kdev/internal/tree"
)

// OptionsHash covers everything but the context's files that decides what the
// image is: the texts of the Dockerfile and of its ignore file, arguments,
// target, platform and, for a dev image, the agent.
func OptionsHash(spec Spec) (string, error) {
	production, err := productionOptions(spec)
	if err != nil || !spec.Dev {
		return production, err
	}
	agent, err := embedded.ID(context.Background(), "kdev-agent", spec.arch())
	if err != nil {
		return "", err
	}
	return digestOf("dev", production, agent), nil
}

// productionOptions is OptionsHash without the dev layers.
func productionOptions(spec Spec) (string, error) {
	switch {
	case spec.Go != nil:
		return spec.Go.options(spec), nil
	case spec.Command != nil:
		return spec.Command.options(spec), nil
	case spec.Image != "":
		return digestOf("image", spec.platform(), spec.Image), nil
	}
	return dockerfileOptions(spec)
}

// passedBy are the flags of COPY and ADD that old engines pass by.
var passedBy = regexp.MustCompile(`--(exclude|chmod|parents)\b`)

func dockerfileOptions(spec Spec) (string, error) {
	plan, err := load(spec)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(spec.Dockerfile)
	if err != nil {
		return "", fmt.Errorf("read the Dockerfile: %w", err)
	}
	parts := []string{"1", spec.platform(), spec.Target, string(text)}
	if passedBy.Match(text) {
		// What was kept before may come from an engine that passed the flag by.
		parts[0] = "2"
	}
	if file := plan.Ignore().File(); file != "" {
		rules, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the ignore rules: %w", err)
		}
		parts = append(parts, string(rules))
	}
	return digestOf(append(append(parts, pairs(spec.Args)...), spec.Options.Fields()...)...), nil
}

// Inputs are the files that a build of spec reads, sorted by path, with their
// content hashes as idx knows them. Nothing else can change the image, but its
// options and its base.
//
// An image of the project that it is made from is one input, whatever it is
// made from itself.
func Inputs(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	own, err := ownInputs(ctx, spec, idx)
	if err != nil {
		return nil, err
	}
	above, err := inherited(ctx, spec, idx)
	if err != nil {
		return nil, err
	}
	return together(own, above), nil
}

// inputsBefore are the inputs before a build. Those that stand for the parents
// are from before the parents were made: what was saved while they were may not
// be in them.
func inputsBefore(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	if len(spec.made) == 0 {
		return Inputs(ctx, spec, idx)
	}
	own, err := ownInputs(ctx, spec, idx)
	if err != nil {
		return nil, err
	}
	return together(own, spec.above), nil
}

func together(own, above []Input) []Input {
	if len(above) == 0 {
		return own
	}
	all := slices.Concat(own, above)
	slices.SortFunc(all, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func ownInputs(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	switch {
	case spec.Go != nil:
		return spec.Go.inputs(ctx, spec, idx)
	case spec.Command != nil:
		return spec.Command.inputs(ctx, spec, idx)
	case spec.Image != "":
		return nil, nil
	}
	return dockerfileInputs(ctx, spec, idx)
}

// dockerfileInputs are the files of the context that an instruction of the
// target reads: a file that no COPY, ADD or RUN --mount takes in is not among
// them, so an edit of it builds nothing.
func dockerfileInputs(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	plan, err := load(spec)
	if err != nil {
		return nil, err
	}
	x, dir, done, err := indexOf(spec, idx)
	if err != nil {
		return nil, err
	}
	defer done()
	m := plan.Ignore()
	relative := func(p string) string {
		if dir == "." {
			return p
		}
		return strings.TrimPrefix(p, dir+"/")
	}
	skip := func(p string, isDir bool) (bool, bool) {
		p = relative(p)
		ignored := m.Match(p, isDir).Ignored
		return ignored, isDir && m.MayReinclude(p)
	}
	var inputs []Input
	err = tree.Walk(ctx, x, dir, skip, func(e tree.Entry) error {
		p := relative(e.Path)
		if plan.Explain(p).Action == dockerfile.Nothing {
			return nil
		}
		in := Input{Path: p, Mode: e.Mode, Link: e.Link}
		if e.IsRegular() {
			d, err := x.Hash(ctx, e.Path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile: the check after the build sees it
			}
			if err != nil {
				return fmt.Errorf("hash %s: %w", e.Path, err)
			}
			in.Size, in.Digest = e.Size, d.String()
		}
		inputs = append(inputs, in)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(inputs, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return inputs, nil
}

// load reads the Dockerfile for what it reads of the context.
func load(spec Spec) (*dockerfile.Plan, error) {
	return dockerfile.Load(dockerfile.Options{
		Context: spec.Context, Dockerfile: spec.Dockerfile, Target: spec.Target, Args: spec.Args, Platform: spec.platform(),
		Base: spec.base,
	})
}

// indexOf finds the context in the project's index; a context outside of the
// project gets an index of its own.
func indexOf(spec Spec, idx *tree.Index) (x *tree.Index, dir string, done func(), err error) {
	if idx != nil {
		if rel, err := filepath.Rel(idx.Root(), spec.Context); err == nil && filepath.IsLocal(rel) {
			return idx, path.Clean(filepath.ToSlash(rel)), func() {}, nil
		}
	}
	own, err := tree.Open(spec.Context)
	if err != nil {
		return nil, "", nil, fmt.Errorf("open the build context: %w", err)
	}
	return own, ".", func() { own.Close() }, nil
}

// key is what the cache knows an image by: content and relative path of all
// that the build reads, and its options.
func key(options string, inputs []Input) string {
	h := sha256.New()
	field(h, options)
	for _, in := range inputs {
		field(h, in.Path)
		field(h, in.Mode.String())
		field(h, in.Digest)
		field(h, in.Link)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		field(h, p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// field writes s so that no two lists of fields give the same bytes.
func field(h hash.Hash, s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }

// pairs is a map as a list of fields.
func pairs(m map[string]string) []string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, k, m[k])
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
