package mirror

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// begin learns who is there and what it holds.
func (c *conversation) begin(ctx context.Context) error {
	w := c.w
	asked := time.Now()
	hello := &protocol.Hello{Protocol: protocol.Version, Client: w.m.client, Boot: w.boot, Version: w.version}
	if err := c.send(hello); err != nil {
		return err
	}
	m, err := c.receive(ctx)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *protocol.Refuse:
		return &refusedError{m.Code, m.Text}
	case *protocol.Welcome:
		c.welcome = m
		c.near = time.Since(asked)
	default:
		return protocol.ErrFrame
	}
	if c.welcome.Protocol != protocol.Version {
		return &refusedError{"version", fmt.Sprintf("the agent speaks version %d", c.welcome.Protocol)}
	}
	w.refused, w.tries = map[string]refusal{}, map[string]int{}
	if !c.welcome.Same {
		if err := c.learn(ctx); err != nil {
			return err
		}
	}
	fresh := c.freshRoot()
	if fresh {
		w.begun(w.boot != [16]byte{})
	}
	w.resolve(&c.welcome.Last, fresh)
	w.boot, w.version, w.alone = c.welcome.Boot, c.welcome.Version, ""
	if !c.welcome.Run {
		w.alone = w.describe().ID
	}
	return c.lookAtUnknown(ctx)
}

// freshRoot says whether the container began anew since it was last spoken with. An
// agent that runs the application lives as long as the root does; without one each
// connection has an agent of its own, and the container's name tells.
func (c *conversation) freshRoot() bool {
	w := c.w
	if c.welcome.Run || w.boot == [16]byte{} {
		return w.boot != c.welcome.Boot
	}
	id := w.describe().ID
	return w.alone != "" && id != "" && w.alone != id
}

// learn makes the known tree: what the image holds, outside of mounts, and what
// was acknowledged since. Where no run remembers that, we do, as long as the container is
// the same: what is there of it shows a look.
func (c *conversation) learn(ctx context.Context) error {
	at := c.w.describe()
	image, known := at.Image, engine.NewTree(nil)
	if !c.welcome.Run && c.w.alone != "" && c.w.alone == at.ID {
		for p := range c.w.known.All() {
			known.Set(p, engine.Uncertain())
		}
	}
	c.claims = map[string][]engine.File{}
	for p, f := range image {
		if f.Mode&fs.ModeIrregular == 0 && c.mountOf(p) == nil {
			known.Set(p, f)
			continue
		}
		if perhaps, ok := at.Perhaps[p]; ok {
			f = perhaps
		}
		c.claim(p, f)
	}
	// A volume of the pod outlives the container that it was filled from.
	if c.w.known != nil && (c.welcome.Run || c.w.alone != at.ID) {
		for p, f := range c.w.known.All() {
			if c.mountOf(p) != nil {
				c.claim(p, f)
			}
		}
	}
	size, began := 0, time.Now()
	for {
		m, err := c.receive(ctx)
		if err != nil {
			return err
		}
		st, ok := m.(*protocol.State)
		if !ok {
			return protocol.ErrFrame
		}
		for _, e := range st.Entries {
			size += len(e.Path) + len(e.File.Link) + 100
			set(known, e, true)
			delete(c.claims, e.Path)
		}
		if size > stateLimit || time.Since(began) > learnLimit {
			return protocol.ErrFrame
		}
		if st.Last {
			break
		}
	}
	c.w.known = known
	c.w.m.mu.Lock()
	c.w.all = true
	c.w.m.mu.Unlock()
	return nil
}

// claim notes what the image or kdev put at p, where something else may be now: a mount may
// hold it or hide it, and nobody knows what a RUN has left. What is found there is removed
// only if it is that. What a read-only mount shows nobody can remove.
func (c *conversation) claim(p string, f engine.File) {
	if m := c.mountOf(p); m == nil || !m.ReadOnly {
		c.claims[p] = append(c.claims[p], f)
	}
}

// set records what the agent says that a path holds.
func set(t *engine.Tree, e protocol.Entry, perm bool) {
	f, ok := fileOf(e.File)
	if !perm {
		f.Mode &= fs.ModeType // what a mount shows is its own business
	}
	if !ok {
		t.Delete(e.Path)
		return
	}
	t.Set(e.Path, f)
}

// lookAtUnknown asks for desired paths of which nobody can know what they hold:
// under mounts, where the image is not known, and where no run remembers what was
// synced since the image was made. It asks for what is claimed too, desired or not:
// that may have been deleted here since.
func (c *conversation) lookAtUnknown(ctx context.Context) error {
	w := c.w
	image := w.describe().Image
	paths := slices.Collect(maps.Keys(c.claims))
	wants := map[string]engine.File{}
	w.m.mu.Lock()
	if w.s.desired != nil {
		if !c.welcome.Run && !c.welcome.Same {
			paths = differing(w.s.desired, w.known)
		}
		for p := range w.s.desired.All() {
			if have, ok := w.known.Get(p); ok && (have.Digest != [32]byte{} || have.Mode&fs.ModeType != 0 && have.Mode&fs.ModeIrregular == 0) {
				continue
			}
			inImage, ok := image[p]
			uncertain := ok && inImage.Mode.IsRegular() && inImage.Digest == [32]byte{}
			if image == nil || uncertain || c.mountOf(p) != nil {
				paths = append(paths, p)
			}
		}
	}
	for _, p := range paths {
		if w.s.desired == nil {
			break
		}
		if want, ok := w.s.desired.Get(p); ok {
			wants[p] = want
		}
	}
	w.m.mu.Unlock()
	if len(paths) == 0 {
		return nil
	}
	slices.Sort(paths)
	entries, err := c.ask(ctx, slices.Compact(paths))
	for _, e := range entries {
		claims, claimed := c.claims[e.Path]
		found, _ := fileOf(e.File)
		want, desired := wants[e.Path]
		if desired {
			claims = append(claims, want)
		}
		same := slices.IndexFunc(claims, func(f engine.File) bool { return found.SameContent(f) })
		switch {
		case claimed && !desired && same < 0:
			w.known.Delete(e.Path) // somebody else's
		case same >= 0 && found.Mode.IsDir():
			w.known.Set(e.Path, claims[same]) // ours, not one that is merely met
		default:
			set(w.known, e, false)
		}
	}
	c.claims = nil
	return err
}

// differing lists the paths at which two trees differ.
func differing(desired, known *engine.Tree) (paths []string) {
	for p, want := range desired.All() {
		if have, ok := known.Get(p); !want.Stays() && (!ok || !want.SameContent(have)) {
			paths = append(paths, p)
		}
	}
	for p := range known.All() {
		if _, ok := desired.Get(p); !ok {
			paths = append(paths, p)
		}
	}
	return paths
}

// ask asks what paths hold.
func (c *conversation) ask(ctx context.Context, paths []string) ([]protocol.Entry, error) {
	return askAll(ctx, c, paths)
}
