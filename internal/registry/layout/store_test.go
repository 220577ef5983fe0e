package layout

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, dir string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// image puts an image with the layers' contents into the store.
func image(t testing.TB, s *Store, repo, tag string, layers ...string) Digest {
	t.Helper()
	d, err := putImage(s, repo, tag, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func putImage(s *Store, repo, tag string, layers ...string) (Digest, error) {
	config, err := s.PutBlob([]byte(`{"os":"linux"}`))
	if err != nil {
		return "", err
	}
	var list []string
	for _, l := range layers {
		d, err := s.PutBlob([]byte(l))
		if err != nil {
			return "", err
		}
		list = append(list, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}`, d, len(l)))
	}
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":14},"layers":[%s]}`,
		OCIManifest, config, strings.Join(list, ","))
	return s.PutManifest(repo, tag, OCIManifest, []byte(raw))
}

func TestTags(t *testing.T) {
	s := open(t, t.TempDir())
	a := image(t, s, "shop/web", "one", "a")
	b := image(t, s, "shop/web", "two", "b")
	image(t, s, "shop/api", "one", "a") // the same image in another repository
	if tags, err := s.Tags("shop/web"); err != nil || !slices.Equal(tags, []string{"one", "two"}) {
		t.Errorf("tags %q %v", tags, err)
	}
	if names, err := s.Repositories(); err != nil || !slices.Equal(names, []string{"shop/api", "shop/web"}) {
		t.Errorf("repositories %q %v", names, err)
	}
	// A tag moves; what it named stays an entry without one.
	image(t, s, "shop/web", "one", "b")
	if e, err := s.Resolve("shop/web", "one"); err != nil || e.Digest != b {
		t.Errorf("moved tag: %+v %v", e, err)
	}
	entries, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Repository == "shop/web" && e.Digest == a && e.Tag == "" }) {
		t.Errorf("the old image of a moved tag is gone: %+v", entries)
	}
	if err := s.Untag("shop/web", "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("shop/web", "one"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed tag: %v", err)
	}
	if err := s.Untag("shop/web", "one"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	// The manifest goes with its last entry.
	if err := s.RemoveManifest("shop/web", a); err != nil {
		t.Fatal(err)
	}
	if !s.Has(a, -1) {
		t.Error("a manifest that another repository has was deleted")
	}
	if err := s.RemoveManifest("shop/api", a); err != nil {
		t.Fatal(err)
	}
	if s.Has(a, -1) {
		t.Error("a manifest that nobody has is still there")
	}
}

func TestPutManifestRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	zero := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct{ repo, tag, mediaType, raw string }{
		"repository":     {"../x", "a", OCIIndex, `{"schemaVersion":2,"manifests":[]}`},
		"upper case":     {"Shop", "a", OCIIndex, `{"schemaVersion":2,"manifests":[]}`},
		"tag":            {"x", "a/b", OCIIndex, `{"schemaVersion":2,"manifests":[]}`},
		"no JSON":        {"x", "a", OCIIndex, `{`},
		"schema 1":       {"x", "a", OCIManifest, `{"schemaVersion":1}`},
		"no config":      {"x", "a", OCIManifest, `{"schemaVersion":2}`},
		"other type":     {"x", "a", OCIManifest, `{"schemaVersion":2,"mediaType":"` + OCIIndex + `","manifests":[]}`},
		"bad digest":     {"x", "a", OCIManifest, `{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1}}`},
		"missing config": {"x", "a", OCIManifest, `{"schemaVersion":2,"config":{"digest":"` + zero + `","size":1}}`},
		"missing child":  {"x", "a", OCIIndex, `{"schemaVersion":2,"manifests":[{"digest":"` + zero + `","size":1}]}`},
		"negative size":  {"x", "a", OCIManifest, `{"schemaVersion":2,"config":{"digest":"` + zero + `","size":-1}}`},
	} {
		if d, err := s.PutManifest(c.repo, c.tag, c.mediaType, []byte(c.raw)); err == nil {
			t.Errorf("%s: accepted as %s", name, d)
		}
	}
}

func TestUpload(t *testing.T) {
	s := open(t, t.TempDir())
	u, err := s.NewResumableUpload()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.ReadFrom(strings.NewReader("first ")); err != nil {
		t.Fatal(err)
	}
	// A broken chunk leaves nothing behind.
	if _, err := u.ReadFrom(io.MultiReader(strings.NewReader("lost"), broken{})); err == nil {
		t.Fatal("no error from a broken reader")
	}
	if u.Size() != 6 {
		t.Fatalf("size %d after a broken chunk, want 6", u.Size())
	}
	if _, err := s.ResumeUpload(u.ID()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an upload that is open elsewhere was given out: %v", err)
	}
	u.Suspend()
	u, err = s.ResumeUpload(u.ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.ReadFrom(strings.NewReader("second")); err != nil {
		t.Fatal(err)
	}
	d, err := u.Commit(DigestOf([]byte("first second")))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.ReadBlob(d); err != nil || string(b) != "first second" {
		t.Errorf("%q %v", b, err)
	}

	u, err = s.NewUpload()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := u.Commit(d); !errors.As(err, &damaged) {
		t.Errorf("other content: %v", err)
	}
	for _, id := range []string{"", "put-x", "../index.json", "http-../../x", "http-none"} {
		if _, err := s.ResumeUpload(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("resume %q: %v", id, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(s.Dir(), "uploads")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestLeftOvers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	// What a killed process leaves: files without a lock.
	for _, name := range []string{"put-old", "http-old", "http-young", "put-young"} {
		if err := os.WriteFile(s.uploadPath(name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{"put-old", "http-old"} {
		if err := os.Chtimes(s.uploadPath(name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	living, err := s.NewUpload()
	if err != nil {
		t.Fatal(err)
	}
	defer living.Cancel()
	later := time.Now().Add(2 * time.Hour)
	open(t, dir, WithClock(func() time.Time { return later }))
	var names []string
	left, _ := os.ReadDir(filepath.Join(dir, "uploads"))
	for _, e := range left {
		names = append(names, e.Name())
	}
	want := []string{"http-young", living.ID()}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left %q, want %q", names, want)
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d := image(t, s, "shop/web", "one", "layer")
	layer := DigestOf([]byte("layer"))
	if err := os.Truncate(s.blobPath(layer), 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a truncated layer counts as present: %v", err)
	}
	// Putting the image again repairs it.
	image(t, s, "shop/web", "one", "layer")
	if err := s.Complete(d); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(s.blobPath(layer), []byte("LAYER"), 0o644); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := s.ReadBlob(layer); !errors.As(err, &damaged) {
		t.Errorf("changed content: %v", err)
	}

	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"schemaVer`), 0o644); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if len(s.Dropped()) != 1 || !strings.Contains(s.Dropped()[0], "tags") {
		t.Errorf("dropped %q", s.Dropped())
	}
	if !s.Has(d, -1) {
		t.Error("the image is gone with the index")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	image(t, s, "shop/web", "one", "layer") // makes the folder again
}

// TestProcesses lets several processes write the same and different images.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("LAYOUT_WORKER") != "" {
		return
	}
	const workers, images = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestWorker$")
			cmd.Env = append(os.Environ(), "LAYOUT_WORKER="+strconv.Itoa(w), "LAYOUT_DIR="+dir, "LAYOUT_IMAGES="+strconv.Itoa(images))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("worker %d: %v\n%s", w, err, out)
			}
		})
	}
	wg.Wait()
	s := open(t, dir)
	names, err := s.Repositories()
	if err != nil || len(names) != workers+1 {
		t.Fatalf("repositories %q %v", names, err)
	}
	for _, name := range names {
		tags, err := s.Tags(name)
		if err != nil || len(tags) != images {
			t.Errorf("%s has %d tags %v, want %d", name, len(tags), err, images)
		}
		for _, tag := range tags {
			e, err := s.Resolve(name, tag)
			if err != nil {
				t.Error(err)
				continue
			}
			if err := s.Complete(e.Digest); err != nil {
				t.Error(err)
			}
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestWorker(t *testing.T) {
	w := os.Getenv("LAYOUT_WORKER")
	if w == "" {
		return // TestProcesses starts it
	}
	s := open(t, os.Getenv("LAYOUT_DIR"))
	n, err := strconv.Atoi(os.Getenv("LAYOUT_IMAGES"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		tag := "v" + strconv.Itoa(i)
		image(t, s, "own/w"+w, tag, "shared "+tag, "own "+w+tag)
		image(t, s, "all", tag, "shared "+tag)
		if _, err := s.MetaOnce("test", tag, func([]byte) bool { return true }, func() ([]byte, error) { return []byte(w), nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilled kills a writer at random points; what is visible is complete.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	for round := range 10 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWorker$")
		cmd.Env = append(os.Environ(), "LAYOUT_WORKER=k"+strconv.Itoa(round), "LAYOUT_DIR="+dir, "LAYOUT_IMAGES=100000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Kill it somewhere in its work: after so many entries, not so much time.
		for {
			entries, err := openQuiet(dir)
			if err == nil && entries > round*7+3 {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		s := open(t, dir)
		if len(s.Dropped()) > 0 {
			t.Errorf("dropped %q", s.Dropped())
		}
		entries, err := s.Entries()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := s.Complete(e.Digest); err != nil {
				t.Error(err)
			}
		}
	}
}

func openQuiet(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return 0, err
	}
	entries, err := parseIndex(raw)
	return len(entries), err
}

func TestMeta(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Meta("records", "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := s.PutMeta("records", "x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Meta("records", "x"); err != nil || string(b) != "1" {
		t.Errorf("%q %v", b, err)
	}
	if keys, err := s.MetaKeys("records"); err != nil || !slices.Equal(keys, []string{"x"}) {
		t.Errorf("%q %v", keys, err)
	}
	for _, key := range []string{"", ".", "..", "../x", "a/b", "A", ".x"} {
		if err := s.PutMeta("records", key, nil); err == nil {
			t.Errorf("key %q accepted", key)
		}
		if _, err := s.Meta(key, "x"); err == nil {
			t.Errorf("kind %q accepted", key)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"`+OCIManifest+`","config":{"digest":"sha256:`+strings.Repeat("a", 64)+`","size":1},"layers":[]}`), "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:`+strings.Repeat("a", 64)+`","size":1}]}`), OCIIndex)
	f.Add([]byte(`{"schemaVersion":2,"subject":null}`), "text/plain")
	f.Fuzz(func(t *testing.T, raw []byte, mediaType string) {
		m, err := ParseManifest(raw, mediaType)
		if err != nil {
			return
		}
		for _, d := range m.Needs() {
			if _, err := ParseDigest(string(d.Digest)); err != nil {
				t.Errorf("accepted %q", d.Digest)
			}
		}
		if !m.IsIndex() && m.Config == nil {
			t.Error("accepted an image without a configuration")
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a/b", "a__b", "a..b", "/a", "a/", "..", "A", "sha256:" + strings.Repeat("f", 64), "a\x00", strings.Repeat("a", 300)} {
		f.Add(s)
	}
	s := &Store{dir: "/store"}
	f.Fuzz(func(t *testing.T, name string) {
		if ValidRepository(name) && (strings.Contains(name, "..") || strings.HasPrefix(name, "/") || strings.Contains(name, "//") || strings.ToLower(name) != name) {
			t.Errorf("repository %q accepted", name)
		}
		if ValidTag(name) && strings.ContainsAny(name, "/\\:@ \x00") {
			t.Errorf("tag %q accepted", name)
		}
		if d, err := ParseDigest(name); err == nil && filepath.Dir(s.blobPath(d)) != "/store/blobs/sha256" {
			t.Errorf("digest %q leads to %s", name, s.blobPath(d))
		}
		if path, err := s.metaPath(name, "x"); err == nil && filepath.Dir(filepath.Dir(path)) != "/store/kdev" {
			t.Errorf("kind %q leads to %s", name, path)
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	raw, _ := renderIndex([]Entry{{Repository: "a", Tag: "b", Digest: DigestOf(nil), MediaType: OCIManifest, Size: 3, Pushed: time.Unix(1, 2)}})
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := parseIndex(raw)
		if err != nil {
			return
		}
		again, err := renderIndex(entries)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseIndex(again)
		if err != nil || len(back) != len(entries) {
			t.Errorf("%v: %d entries became %d", err, len(entries), len(back))
		}
	})
}

func BenchmarkPutImage(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for i := range 500 {
		image(b, s, "shop/old", "v"+strconv.Itoa(i), "x")
	}
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<14))
	for i := 0; b.Loop(); i++ {
		image(b, s, "shop/web", "v"+strconv.Itoa(i%50), big+strconv.Itoa(i))
	}
}
