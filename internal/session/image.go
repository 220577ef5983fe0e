package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
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

// A question is all by which choose decides.
type question struct {
	spec build.Spec
	plan *mapping
	live string // the reference that the objects name now; empty: nothing runs
	seen sighting
	// settled says that this session chose live: its pods may be about to start.
	settled bool
	// syncs says that files go into the containers, compiles that changed sources of the
	// program need no new image, builds that a new image can be made.
	syncs, compiles, builds bool
	registry                string                                       // that references begin with; empty: any
	imageID                 func(ctx context.Context, ref string) string // see Parts.ImageID
}

// choose compares the local tree with the image that runs now.
//
// What differs is left to be synced only where a container of the image has run: the
// agent needs one. Else the image has to be the tree's and whole.
func choose(ctx context.Context, store *registry.Store, index *tree.Index, q question) (choice, error) {
	if q.live == "" {
		return choice{why: "nothing ran before"}, nil
	}
	if q.registry != "" && !strings.HasPrefix(q.live, q.registry+"/") && !q.seen.running {
		return choice{why: "what was to run is of another registry than " + q.registry}, nil
	}
	digest := digestOf(q.live)
	record, ok := build.LoadRecord(store, digest)
	if !ok {
		return choice{why: "what runs is not of this store"}, nil
	}
	if h, err := parseDigest(digest); err != nil || !store.Has(h) {
		return choice{why: "what runs is no longer in the store"}, nil
	}
	options, err := build.OptionsHash(q.spec)
	if err != nil {
		return choice{}, err
	}
	if options != record.Options {
		return choice{why: "the Dockerfile or the build's options changed"}, nil
	}
	inputs, err := build.Inputs(ctx, q.spec, index)
	if err != nil {
		return choice{}, err
	}
	c := compared(q.plan, record, inputs, q.live, q.compiles)
	if c.keep == "" {
		return c, nil
	}
	if moved := movedBase(ctx, record, q.imageID); moved != "" && q.builds {
		return choice{why: moved + " is another image on the engine now"}, nil
	}
	if len(c.ahead) > 0 && !q.syncs {
		return choice{why: c.ahead[0] + " changed, and nothing is synced"}, nil
	}
	if q.seen.ran || !q.seen.refused && (q.settled || !q.builds) {
		return c, nil
	}
	return untried(store, c, digest, q.seen.refused)
}

// untried decides about an image of which no container has run. A blob of it that is
// not what it should be is dropped, or whatever is built would begin with it again.
func untried(store *registry.Store, c choice, digest string, refused bool) (choice, error) {
	whole := store.Complete(layout.Digest(digest))
	if refused {
		return choice{why: "no node could pull what was to run"}, nil
	}
	if whole != nil {
		return choice{why: "what was to run is no longer whole in the store"}, nil
	}
	if len(c.ahead) > 0 {
		return choice{why: c.ahead[0] + " changed, and no container of the image has run"}, nil
	}
	return c, nil
}

// movedBase names an image that record's was made from and that is another one on the
// engine since; empty where there is none.
func movedBase(ctx context.Context, record *build.Record, imageID func(ctx context.Context, ref string) string) string {
	if imageID == nil {
		return ""
	}
	for _, ref := range slices.Sorted(maps.Keys(record.Bases)) {
		if now := imageID(ctx, ref); build.Moved(record.Bases[ref], now) {
			return ref
		}
	}
	return ""
}

// A sighting is what became of an image in the project's pods.
type sighting struct {
	ran     bool // a container of it did or does: what was synced is in it
	running bool
	refused bool // a node cannot pull it
}

// sight looks for the containers of a reference.
func sight(pods []*corev1.Pod, ref string) sighting {
	var seen sighting
	for _, pod := range pods {
		names := map[string]bool{}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			names[c.Name] = c.Image == ref
		}
		for _, st := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			if !names[st.Name] {
				continue
			}
			seen.running = seen.running || st.State.Running != nil
			seen.ran = seen.ran || st.State.Running != nil || hasRun(st.State.Terminated) || hasRun(st.LastTerminationState.Terminated)
			if w := st.State.Waiting; w != nil {
				switch w.Reason {
				case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable":
					seen.refused = true
				}
			}
		}
	}
	return seen
}

// hasRun says whether a container that ended had begun: one whose process could not be
// started has no time of that, or the beginning of time.
func hasRun(t *corev1.ContainerStateTerminated) bool { return t != nil && t.StartedAt.Unix() > 0 }

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
