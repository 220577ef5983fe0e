package session

import (
	"context"
	"fmt"
	"sort"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
)

// A choice says which image a service is to run and why: the image of record,
// when all that differs from it can be synced, else a new one.
type choice struct {
	keep   string // reference to go on running; empty: build
	record *build.Record
	why    string
	ahead  []string // paths that differ from keep and can be synced
	// compile says that sources of the program are among them.
	compile bool
}

// choose compares the local tree with the image that runs now. live is its
// reference, empty when nothing runs; compiles says that changed sources of the
// program need no new image.
func choose(ctx context.Context, store *registry.Store, index *tree.Index, plan *mapping, spec build.Spec, live string, compiles bool) (choice, error) {
	if live == "" {
		return choice{why: "nothing ran before"}, nil
	}
	digest := digestOf(live)
	record, ok := build.LoadRecord(store, digest)
	if !ok {
		return choice{why: "what runs is not of this store"}, nil
	}
	if h, err := parseDigest(digest); err != nil || !store.Has(h) {
		return choice{why: "what runs is no longer in the store"}, nil
	}
	options, err := build.OptionsHash(spec)
	if err != nil {
		return choice{}, err
	}
	if options != record.Options {
		return choice{why: "the Dockerfile or the build's options changed"}, nil
	}
	inputs, err := build.Inputs(ctx, spec, index)
	if err != nil {
		return choice{}, err
	}
	return compared(plan, record, inputs, live, compiles), nil
}

// compared says what differs between the image that runs and the inputs as they
// are now.
func compared(plan *mapping, record *build.Record, inputs []build.Input, live string, compiles bool) choice {
	var ahead []string
	compile := false
	for _, path := range differing(record.Inputs, inputs) {
		v := plan.explain(path)
		if build.Inherited(path) && v.Action != dockerfile.Rebuild {
			return choice{why: "the image is made from others than before"} // and the recipe does not say so
		}
		if v.Action == dockerfile.Rebuild && compiles && !build.Inherited(path) {
			ahead, compile = append(ahead, path), true
			continue
		}
		if v.Action == dockerfile.Rebuild {
			return choice{why: fmt.Sprintf("%s changed: %s", path, v.Why)}
		}
		if v.Action == dockerfile.Sync {
			ahead = append(ahead, path)
		}
	}
	why := "what runs is current"
	// What lies here was compiled after the image, and may be in the containers.
	if compiles && !compile {
		compile = !build.AsMade(record.Outputs)
	}
	if compile {
		why = "the program is compiled and replaced in what runs"
	}
	return choice{keep: live, record: record, ahead: ahead, why: why, compile: compile}
}

// differing names the paths that two lists of inputs do not have in common or
// not alike, sorted.
func differing(old, new []build.Input) []string {
	was := make(map[string]build.Input, len(old))
	for _, in := range old {
		was[in.Path] = in
	}
	var paths []string
	for _, in := range new {
		o, ok := was[in.Path]
		if !ok || o != in {
			paths = append(paths, in.Path)
		}
		delete(was, in.Path)
	}
	for path := range was {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	return paths
}
