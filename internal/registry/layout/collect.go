package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// A Policy says what a collection keeps.
type Policy struct {
	// Keep is how many images of each repository stay, the ones that were
	// pushed last. Images that a tag of a mirror names stay in any case.
	Keep int
	// Live are manifests that somebody uses: those of running pods.
	Live []Digest
	// MaxAge, when it is not zero, also drops what Keep would keep but is
	// older; never what is live or under a lease.
	MaxAge time.Duration
	// DryRun reports and removes nothing.
	DryRun bool
}

// A Report is what a collection did, or would do.
type Report struct {
	Removed []Entry // images, oldest first
	Kept    []Kept
	Blobs   int   // removed
	Bytes   int64 // freed
	Size    int64 // of all blobs that stay
}

// Kept is an image that stays, and why.
type Kept struct {
	Entry
	Why string // "live", "leased", "newest", "mirror", "foreign"
}

// MirrorPrefix begins the repositories of copies of other registries' images.
const MirrorPrefix = "mirror/"

// Collect removes the images that the policy does not keep and the blobs that
// nothing refers to any more. Builds and pushes of other processes go on
// meanwhile: what they hold by a lease stays, and they wait for the moment in
// which the files are looked at.
func (s *Store) Collect(ctx context.Context, p Policy) (*Report, error) {
	// One collector at a time; it may have to wait for one in another process.
	unlock, err := s.Lock(ctx, "collect")
	if err != nil {
		return nil, err
	}
	defer unlock()
	alone, err := s.lock("lock", true, true)
	if err != nil {
		return nil, err
	}
	defer alone.Close()
	held, err := s.leased()
	if err != nil {
		return nil, err
	}
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	c := &collection{store: s, policy: p, held: held, marked: map[Digest]bool{}, report: &Report{}}
	c.choose(entries)
	for d := range held {
		c.mark(d)
	}
	for _, d := range p.Live {
		c.mark(d)
	}
	for _, k := range c.report.Kept {
		c.mark(k.Digest)
	}
	c.markReferrers(entries)
	if err := c.sweep(ctx); err != nil {
		return nil, err
	}
	if p.DryRun {
		return c.report, nil
	}
	if err := c.dropEntries(); err != nil {
		return nil, err
	}
	return c.report, c.dropMeta()
}

type collection struct {
	store  *Store
	policy Policy
	held   map[Digest]bool
	marked map[Digest]bool
	report *Report
}

// choose decides about each image.
func (c *collection) choose(entries []Entry) {
	live := map[Digest]bool{}
	for _, d := range c.policy.Live {
		live[d] = true
	}
	newest := slices.Clone(entries)
	sort.SliceStable(newest, func(i, j int) bool { return newest[i].Pushed.After(newest[j].Pushed) })
	// Counted by manifest: one image under two tags is one.
	count := map[string]map[Digest]bool{}
	for _, e := range newest {
		seen := count[e.Repository]
		if seen == nil {
			seen = map[Digest]bool{}
			count[e.Repository] = seen
		}
		// What stays for another reason is one of the newest as well.
		if len(seen) < c.policy.Keep {
			seen[e.Digest] = true
		}
		old := c.policy.MaxAge > 0 && c.store.now().Sub(e.Pushed) > c.policy.MaxAge
		why := ""
		switch {
		case live[e.Digest]:
			why = "live"
		case c.held[e.Digest]:
			why = "leased"
		case e.Repository == "":
			why = "foreign"
		case old:
		case strings.HasPrefix(e.Repository, MirrorPrefix):
			if e.Tag != "" {
				why = "mirror"
			}
		case seen[e.Digest]:
			why = "newest"
		}
		if why == "" {
			c.report.Removed = append(c.report.Removed, e)
		} else {
			c.report.Kept = append(c.report.Kept, Kept{e, why})
		}
	}
	slices.Reverse(c.report.Removed)
}

// mark follows a manifest to all that it needs. What is no manifest, or is
// not here, is just itself.
func (c *collection) mark(d Digest) {
	if c.marked[d] {
		return
	}
	c.marked[d] = true
	size, err := c.store.Stat(d)
	if err != nil || size > MaxManifest {
		return
	}
	raw, err := c.store.read(d)
	if err != nil || len(raw) == 0 || raw[0] != '{' {
		return
	}
	m, err := ParseManifest(raw, "")
	if err != nil {
		return
	}
	for _, n := range m.Needs() {
		if m.IsIndex() {
			c.mark(n.Digest)
			continue
		}
		c.marked[n.Digest] = true
	}
}

// markReferrers keeps signatures and the like of what is kept.
func (c *collection) markReferrers(entries []Entry) {
	for _, e := range entries {
		if e.Subject == "" || !c.marked[e.Subject] || c.marked[e.Digest] {
			continue
		}
		c.mark(e.Digest)
		i := slices.IndexFunc(c.report.Removed, func(r Entry) bool { return r == e })
		if i >= 0 {
			c.report.Removed = slices.Delete(c.report.Removed, i, i+1)
			c.report.Kept = append(c.report.Kept, Kept{e, "refers to an image that stays"})
		}
	}
}

func (c *collection) sweep(ctx context.Context) error {
	dir := filepath.Join(c.store.dir, "blobs", "sha256")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		d, err := ParseDigest("sha256:" + e.Name())
		if err != nil {
			continue // not ours
		}
		if c.marked[d] {
			c.report.Size += fi.Size()
			continue
		}
		c.report.Blobs++
		c.report.Bytes += fi.Size()
		if c.policy.DryRun {
			continue
		}
		if err := c.store.RemoveBlob(d); err != nil {
			return err
		}
	}
	return nil
}

// dropEntries takes what was removed out of the index, and what an index of
// before a crash still lists but is no longer there.
func (c *collection) dropEntries() error {
	return c.store.update(func(entries []Entry) []Entry {
		return slices.DeleteFunc(entries, func(e Entry) bool {
			return slices.Contains(c.report.Removed, e) || !c.store.exists(e.Digest)
		})
	})
}

// dropMeta forgets what was remembered about blobs that are gone.
func (c *collection) dropMeta() error {
	kinds, err := os.ReadDir(filepath.Join(c.store.dir, "kdev"))
	if err != nil {
		return err
	}
	for _, k := range kinds {
		about := metaAbout[k.Name()]
		if about == nil {
			continue
		}
		keys, err := c.store.MetaKeys(k.Name())
		if err != nil {
			return err
		}
		for _, key := range keys {
			d, ok := about(c.store, k.Name(), key)
			if !ok || c.store.exists(d) {
				continue
			}
			if err := c.store.RemoveMeta(k.Name(), key); err != nil {
				return err
			}
		}
	}
	return nil
}

// metaAbout says, for the kinds of PutMeta that are worth nothing without a
// blob, which one that is.
var metaAbout = map[string]func(s *Store, kind, key string) (Digest, bool){
	"records": byKey, "listings": byKey, verifiedKind: byKey,
	"cache": byContent, "layers": byContent, "steps": byContent, "agents": byContent,
}

// byKey: the key is the digest's hexadecimal digits.
func byKey(_ *Store, _, key string) (Digest, bool) {
	d, err := ParseDigest("sha256:" + key)
	return d, err == nil
}

var digestInText = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// byContent: the content names it.
func byContent(s *Store, kind, key string) (Digest, bool) {
	raw, err := s.Meta(kind, key)
	if err != nil {
		return "", false
	}
	d := digestInText.Find(raw)
	return Digest(d), d != nil
}
