package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"
)

// Annotations of index.json's entries. The ref name is what other tools
// that read OCI layouts look for.
const (
	annotationRef        = "org.opencontainers.image.ref.name"
	annotationRepository = "dev.kdev.repository"
	annotationTag        = "dev.kdev.tag"
	annotationPushed     = "dev.kdev.pushed"
	annotationSubject    = "dev.kdev.subject"
	annotationPulled     = "dev.kdev.pulled"
)

// An Entry is one manifest in one repository, under one tag or none.
type Entry struct {
	Repository, Tag string
	Digest          Digest
	MediaType       string
	Size            int64
	Subject         Digest // of an artifact that refers to another manifest
	Pushed          time.Time
	// Pulled says that it came from the registry that its repository copies, so
	// that its tag can be compared with the one there. A copy of what the engine
	// holds cannot: an engine may write layers, and so the manifest, anew.
	Pulled bool
}

type indexFile struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
}

// An indexCache is the index as it was read last.
type indexCache struct {
	mu      sync.Mutex
	info    fs.FileInfo
	entries []Entry
}

// Entries are all manifests of all repositories, oldest push first. The
// slice is shared: do not change it.
func (s *Store) Entries() ([]Entry, error) {
	x := s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	fi, err := os.Stat(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Each write is a new file, so identity, size and time together tell versions apart.
	if x.info != nil && os.SameFile(x.info, fi) && x.info.ModTime().Equal(fi.ModTime()) && x.info.Size() == fi.Size() {
		return x.entries, nil
	}
	raw, err := os.ReadFile(s.indexPath())
	if err != nil {
		return nil, err
	}
	entries, err := parseIndex(raw)
	if err != nil {
		return nil, err
	}
	x.info, x.entries = fi, entries
	return entries, nil
}

// Resolve returns the entry that a tag of a repository names, or an error
// that is fs.ErrNotExist.
func (s *Store) Resolve(repository, tag string) (Entry, error) {
	entries, err := s.Entries()
	if err != nil {
		return Entry{}, err
	}
	for _, e := range entries {
		if e.Repository == repository && e.Tag == tag {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("image %s:%s: %w", repository, tag, fs.ErrNotExist)
}

// Repositories are the names of all repositories, sorted.
func (s *Store) Repositories() ([]string, error) {
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Repository)
	}
	sort.Strings(names)
	return slices.Compact(names), nil
}

// Tags are the repository's tags, sorted; the error is fs.ErrNotExist where
// there is no such repository.
func (s *Store) Tags(repository string) ([]string, error) {
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	found := false
	tags := []string{}
	for _, e := range entries {
		if e.Repository != repository {
			continue
		}
		found = true
		if e.Tag != "" {
			tags = append(tags, e.Tag)
		}
	}
	if !found {
		return nil, fmt.Errorf("repository %s: %w", repository, fs.ErrNotExist)
	}
	sort.Strings(tags)
	return tags, nil
}

// PutManifest stores raw and enters it in the repository, under tag unless
// that is empty. What it needs must be here already, or the error is a
// *MissingError; its subject need not be.
func (s *Store) PutManifest(repository, tag, mediaType string, raw []byte) (Digest, error) {
	if !ValidRepository(repository) {
		return "", fmt.Errorf("%q cannot name a repository", repository)
	}
	if tag != "" && !ValidTag(tag) {
		return "", fmt.Errorf("%q cannot be a tag", tag)
	}
	m, err := ParseManifest(raw, mediaType)
	if err != nil {
		return "", err
	}
	for _, need := range m.Needs() {
		if !s.Has(need.Digest, -1) {
			return "", &MissingError{need}
		}
	}
	return s.enter(Entry{Repository: repository, Tag: tag}, m, raw)
}

// PutPartialManifest is PutManifest for a store that is not the one that the
// cluster pulls from: layers may live elsewhere.
func (s *Store) PutPartialManifest(repository, tag, mediaType string, raw []byte) (Digest, error) {
	m, err := ParseManifest(raw, mediaType)
	if err != nil {
		return "", err
	}
	return s.enter(Entry{Repository: repository, Tag: tag}, m, raw)
}

// PutPulled is PutManifest for what comes from the registry that repository is
// the copy of: what it needs comes afterwards, and of an index perhaps one
// platform only. An image of an index that is here gets no entry of its own: it
// stays and goes with the index.
func (s *Store) PutPulled(repository, tag, mediaType string, raw []byte) (Digest, error) {
	if !ValidRepository(repository) || tag != "" && !ValidTag(tag) {
		return "", fmt.Errorf("%q and %q cannot name an image", repository, tag)
	}
	m, err := ParseManifest(raw, mediaType)
	if err != nil {
		return "", err
	}
	return s.enter(Entry{Repository: repository, Tag: tag, Pulled: true}, m, raw)
}

// Described is the size of a blob that an image of the repository needs, by the
// manifests that are here.
func (s *Store) Described(repository string, d Digest) (int64, bool) {
	entries, err := s.Entries()
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		if e.Repository != repository {
			continue
		}
		if size, ok := s.describes(e.Digest, d, 2); ok {
			return size, true
		}
	}
	return 0, false
}

// describes looks into a manifest, and into those that it lists: an index of
// indexes is as deep as anybody goes.
func (s *Store) describes(manifest, d Digest, depth int) (int64, bool) {
	raw, err := s.ReadBlob(manifest)
	if err != nil {
		return 0, false
	}
	m, err := ParseManifest(raw, "")
	if err != nil {
		return 0, false
	}
	for _, n := range m.Needs() {
		if n.Digest == d && !m.IsIndex() {
			return n.Size, true
		}
		if m.IsIndex() && depth > 0 {
			if size, ok := s.describes(n.Digest, d, depth-1); ok {
				return size, true
			}
		}
	}
	return 0, false
}

func (s *Store) enter(e Entry, m *Manifest, raw []byte) (Digest, error) {
	repository, tag := e.Repository, e.Tag
	// No collector between the blob and its entry.
	shared, err := s.lock("lock", false, true)
	if err != nil {
		return "", err
	}
	defer shared.Close()
	d, err := s.PutBlob(raw)
	if err != nil {
		return "", err
	}
	e.Digest, e.MediaType, e.Size, e.Pushed = d, m.MediaType, int64(len(raw)), s.now()
	if m.Subject != nil {
		e.Subject = m.Subject.Digest
	}
	return d, s.update(func(entries []Entry) []Entry {
		if e.Pulled && slices.ContainsFunc(entries, func(old Entry) bool {
			return old.Repository == repository && (old.Tag == tag && old.Digest == d || tag == "" && s.indexRefers(old, d))
		}) {
			return entries
		}
		kept := entries[:0]
		for _, old := range entries {
			if old.Repository == repository {
				if old.Digest == d && (old.Tag == tag || old.Tag == "") {
					continue // e takes its place
				}
				if tag != "" && old.Tag == tag {
					// The tag moves on; what it named can still be pulled by
					// digest (running pods do) until it is collected.
					old.Tag = ""
				}
			}
			kept = append(kept, old)
		}
		return dedupe(append(kept, e))
	})
}

// A MissingError is a manifest that refers to what the store does not have.
type MissingError struct{ Descriptor Descriptor }

func (e *MissingError) Error() string {
	return fmt.Sprintf("manifest refers to %s, which is not in the store", e.Descriptor.Digest)
}

// Untag removes a tag; the manifest goes on under its digest.
func (s *Store) Untag(repository, tag string) error {
	found := false
	err := s.update(func(entries []Entry) []Entry {
		for i, e := range entries {
			if e.Repository == repository && e.Tag == tag {
				found = true
				entries[i].Tag = ""
			}
		}
		return dedupe(entries)
	})
	if err == nil && !found {
		return fmt.Errorf("image %s:%s: %w", repository, tag, fs.ErrNotExist)
	}
	return err
}

// RemoveManifest takes the manifest out of the repository, with its tags. Its
// blob goes when no other entry or index refers to it.
func (s *Store) RemoveManifest(repository string, d Digest) error {
	found, elsewhere := false, false
	err := s.update(func(entries []Entry) []Entry {
		kept := entries[:0]
		for _, e := range entries {
			if e.Digest == d && e.Repository == repository {
				found = true
				continue
			}
			if e.Digest == d || s.indexRefers(e, d) {
				elsewhere = true
			}
			kept = append(kept, e)
		}
		return kept
	})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("manifest %s in %s: %w", d, repository, fs.ErrNotExist)
	}
	if elsewhere {
		return nil
	}
	return s.RemoveBlob(d)
}

func (s *Store) indexRefers(e Entry, d Digest) bool {
	if e.MediaType != OCIIndex && e.MediaType != DockerList {
		return false
	}
	raw, err := s.ReadBlob(e.Digest)
	if err != nil {
		return false
	}
	m, err := ParseManifest(raw, e.MediaType)
	return err == nil && slices.ContainsFunc(m.Manifests, func(c Descriptor) bool { return c.Digest == d })
}

// Update rewrites the index under its lock; change may keep, drop and alter
// entries of the slice that it is given.
func (s *Store) update(change func([]Entry) []Entry) error {
	l, err := s.lock("index.lock", true, true)
	if err != nil {
		return err
	}
	defer l.Close()
	entries, err := s.Entries()
	if err != nil {
		return err
	}
	entries = change(slices.Clone(entries))
	raw, err := renderIndex(entries)
	if err != nil {
		return err
	}
	return s.replace(s.indexPath(), raw)
}

// dedupe drops untagged entries of manifests that the repository still has
// under a tag, and doubled ones.
func dedupe(entries []Entry) []Entry {
	type key struct {
		repository string
		digest     Digest
	}
	tagged := map[key]bool{}
	for _, e := range entries {
		if e.Tag != "" {
			tagged[key{e.Repository, e.Digest}] = true
		}
	}
	kept := entries[:0]
	for _, e := range entries {
		k := key{e.Repository, e.Digest}
		if e.Tag == "" {
			if tagged[k] {
				continue
			}
			tagged[k] = true
		}
		kept = append(kept, e)
	}
	return kept
}

func (s *Store) indexPath() string { return filepath.Join(s.dir, "index.json") }

// repairIndex puts an unreadable index aside. Images stay reachable by
// digest, which is how pods name them; tags come back with the next build.
func (s *Store) repairIndex() error {
	l, err := s.lock("index.lock", true, true)
	if err != nil {
		return err
	}
	defer l.Close()
	raw, err := os.ReadFile(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = renderIndex(nil)
		if err != nil {
			return err
		}
		return s.replace(s.indexPath(), raw)
	}
	if err != nil {
		return err
	}
	if _, perr := parseIndex(raw); perr != nil {
		aside := s.indexPath() + ".damaged"
		if err := os.Rename(s.indexPath(), aside); err != nil {
			return err
		}
		s.note("", fmt.Sprintf("the list of tags (%v); it is kept as %s, tags come back with the next build", perr, aside))
		raw, err = renderIndex(nil)
		if err != nil {
			return err
		}
		return s.replace(s.indexPath(), raw)
	}
	return nil
}

func parseIndex(raw []byte) ([]Entry, error) {
	var f indexFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if f.SchemaVersion != 2 {
		return nil, fmt.Errorf("index.json: schemaVersion %d, want 2", f.SchemaVersion)
	}
	entries := make([]Entry, 0, len(f.Manifests))
	for _, d := range f.Manifests {
		if _, err := ParseDigest(string(d.Digest)); err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
		e := Entry{
			Repository: d.Annotations[annotationRepository], Tag: d.Annotations[annotationTag],
			Digest: d.Digest, MediaType: d.MediaType, Size: d.Size, Subject: Digest(d.Annotations[annotationSubject]),
			Pulled: d.Annotations[annotationPulled] != "",
		}
		// An entry of another tool has no repository; it stays untouched by
		// name but is kept, so that its image is not collected.
		e.Pushed, _ = time.Parse(time.RFC3339Nano, d.Annotations[annotationPushed])
		entries = append(entries, e)
	}
	return entries, nil
}

func renderIndex(entries []Entry) ([]byte, error) {
	f := indexFile{SchemaVersion: 2, MediaType: OCIIndex, Manifests: make([]Descriptor, 0, len(entries))}
	for _, e := range entries {
		a := map[string]string{annotationRepository: e.Repository, annotationPushed: e.Pushed.UTC().Format(time.RFC3339Nano)}
		if e.Tag != "" {
			a[annotationTag] = e.Tag
			a[annotationRef] = e.Repository + ":" + e.Tag
		}
		if e.Subject != "" {
			a[annotationSubject] = string(e.Subject)
		}
		if e.Pulled {
			a[annotationPulled] = "true"
		}
		f.Manifests = append(f.Manifests, Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size, Annotations: a})
	}
	return json.MarshalIndent(f, "", " ")
}
