package layout

import (
	"errors"
	"fmt"
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

// A clock that each look moves on.
func ticking() (func() time.Time, *time.Duration) {
	var mu sync.Mutex
	start, passed := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Duration(0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		passed += time.Second
		return start.Add(passed)
	}, &passed
}

func TestCollect(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		want   []string // repository:tag that stay
	}{
		"last two":        {Policy{Keep: 2}, []string{"api:v1", "mirror/docker.io/redis:7", "web:v3", "web:v4", "web:v4-too"}},
		"all":             {Policy{Keep: 9}, []string{"api:v1", "mirror/docker.io/redis:7", "web:v1", "web:v2", "web:v3", "web:v4", "web:v4-too"}},
		"none":            {Policy{}, []string{"mirror/docker.io/redis:7"}},
		"live":            {Policy{Live: []Digest{"web:v1"}}, []string{"mirror/docker.io/redis:7", "web:v1"}},
		"live and newest": {Policy{Keep: 2, Live: []Digest{"web:v4"}}, []string{"api:v1", "mirror/docker.io/redis:7", "web:v3", "web:v4", "web:v4-too"}},
		"live and old":    {Policy{Keep: 1, Live: []Digest{"web:v1"}}, []string{"api:v1", "mirror/docker.io/redis:7", "web:v1", "web:v4", "web:v4-too"}},
		"old":             {Policy{Keep: 9, MaxAge: time.Minute, Live: []Digest{"web:v2"}}, []string{"web:v2"}},
	} {
		t.Run(name, func(t *testing.T) {
			now, passed := ticking()
			s := open(t, t.TempDir(), WithClock(now))
			named := map[Digest]Digest{}
			for i := 1; i <= 4; i++ {
				tag := "v" + strconv.Itoa(i)
				named[Digest("web:"+tag)] = image(t, s, "web", tag, "shared", "own "+tag)
			}
			image(t, s, "web", "v4-too", "shared", "own v4")
			image(t, s, "api", "v1", "shared", "api")
			image(t, s, "mirror/docker.io/redis", "7", "redis 7.0")
			image(t, s, "mirror/docker.io/redis", "7", "redis 7.1") // the tag moved on
			if _, err := s.PutBlob([]byte("nobody's")); err != nil {
				t.Fatal(err)
			}
			for i, d := range c.policy.Live {
				c.policy.Live[i] = named[d]
			}
			*passed += 2 * time.Minute

			dry := c.policy
			dry.DryRun = true
			plan, err := s.Collect(t.Context(), dry)
			if err != nil {
				t.Fatal(err)
			}
			done, err := s.Collect(t.Context(), c.policy)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Blobs != done.Blobs || plan.Bytes != done.Bytes || !slices.Equal(plan.Removed, done.Removed) {
				t.Errorf("the dry run says %+v, the collection %+v", plan, done)
			}
			var got []string
			entries, err := s.Entries()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got = append(got, e.Repository+":"+e.Tag)
				if err := s.Complete(e.Digest); err != nil {
					t.Error(err)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%q stay, want %q", got, c.want)
			}
			if s.Has(DigestOf([]byte("nobody's")), -1) || s.Has(DigestOf([]byte("redis 7.0")), -1) {
				t.Error("a blob that nothing refers to is still there")
			}
			again, err := s.Collect(t.Context(), c.policy)
			if err != nil || again.Blobs != 0 || len(again.Removed) != 0 {
				t.Errorf("a second time: %+v %v", again, err)
			}
		})
	}
}

func TestCollectFollowsReferences(t *testing.T) {
	s := open(t, t.TempDir())
	child := image(t, s, "web", "", "layer")
	size, err := s.Stat(child)
	if err != nil {
		t.Fatal(err)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"digest":%q,"size":%d}]}`, OCIIndex, child, size)
	d, err := s.PutManifest("web", "multi", OCIIndex, []byte(index))
	if err != nil {
		t.Fatal(err)
	}
	config, err := s.PutBlob([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	signature := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q,"size":2},"subject":{"digest":%q,"size":%d}}`, OCIManifest, config, d, len(index))
	sd, err := s.PutManifest("web", "", OCIManifest, []byte(signature))
	if err != nil {
		t.Fatal(err)
	}
	for kind, about := range map[string]Digest{"records": child, "cache": child, "layers": DigestOf([]byte("gone"))} {
		if err := s.PutMeta(kind, about.Hex(), []byte(`{"digest":"`+string(about)+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutMeta("registry", "token", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), Policy{Live: []Digest{d}}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []Digest{d, child, sd, DigestOf([]byte("layer"))} {
		if !s.Has(d, -1) {
			t.Errorf("%s is gone", d)
		}
	}
	for kind, want := range map[string]int{"records": 1, "cache": 1, "layers": 0, "registry": 1} {
		if keys, err := s.MetaKeys(kind); err != nil || len(keys) != want {
			t.Errorf("%s: %q %v, want %d", kind, keys, err, want)
		}
	}
	if _, err := s.Collect(t.Context(), Policy{}); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int{"records": 0, "cache": 0, "registry": 1} {
		if keys, err := s.MetaKeys(kind); err != nil || len(keys) != want {
			t.Errorf("%s after all is gone: %q %v, want %d", kind, keys, err, want)
		}
	}
}

func TestLease(t *testing.T) {
	now, passed := ticking()
	dir := t.TempDir()
	s := open(t, dir, WithClock(now))
	collect := func() {
		t.Helper()
		if _, err := s.Collect(t.Context(), Policy{}); err != nil {
			t.Fatal(err)
		}
	}
	l := s.NewLease()
	builder := s.WithLease(l)
	l.Begin()
	l.Begin()
	written, err := builder.PutBlob([]byte("written"))
	if err != nil {
		t.Fatal(err)
	}
	seen, err := s.PutBlob([]byte("seen"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.PutBlob([]byte("other"))
	if err != nil {
		t.Fatal(err)
	}
	if !builder.Has(seen, -1) {
		t.Fatal("not there")
	}
	collect()
	for d, want := range map[Digest]bool{written: true, seen: true, other: false} {
		if s.Has(d, -1) != want {
			t.Errorf("%s: there is %v, want %v", d, !want, want)
		}
	}
	if err := l.End(); err != nil {
		t.Fatal(err)
	}
	collect()
	if !s.Has(written, -1) {
		t.Error("gone although another build goes on")
	}
	if err := l.End(); err != nil {
		t.Fatal(err)
	}
	collect()
	if s.Has(written, -1) {
		t.Error("still there after the last build")
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "leases")); len(left) > 0 {
		t.Errorf("leases left: %v", left)
	}

	// A session's images.
	a, b := image(t, s, "web", "a", "a"), image(t, s, "web", "b", "b")
	if err := l.Set(a); err != nil {
		t.Fatal(err)
	}
	collect()
	if s.Complete(a) != nil || s.Complete(b) == nil {
		t.Error("want the image under the lease and its layers to stay, and the other one to go")
	}
	if err := l.Set(); err != nil {
		t.Fatal(err)
	}

	// What a killed process held, once its time is over.
	d, err := s.PutBlob([]byte("abandoned"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "leases", "abandoned")
	if err := os.WriteFile(file, []byte(string(d)+"\nnonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, now(), now()); err != nil {
		t.Fatal(err)
	}
	collect()
	if !s.Has(d, -1) {
		t.Error("a lease that another machine may hold was passed over")
	}
	*passed += grace
	collect()
	if s.Has(d, -1) {
		t.Error("an abandoned lease still counts")
	}

	// A client that pushed a blob and never came back.
	if err := l.Hold(d); err != nil {
		t.Fatal(err)
	}
	*passed += 2 * time.Hour
	l.Drop()
	if left, _ := os.ReadDir(filepath.Join(dir, "leases")); len(left) > 0 {
		t.Errorf("leases left: %v", left)
	}
}

// TestCollectBesideBuilders lets processes build while others collect: no
// build loses a blob that it wrote or found.
func TestCollectBesideBuilders(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const workers = 6
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestBuilder$")
			cmd.Env = append(os.Environ(), "LAYOUT_BUILDER="+strconv.Itoa(w), "LAYOUT_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("builder %d: %v\n%s", w, err, out)
			}
		})
	}
	done := make(chan struct{})
	var collectors sync.WaitGroup
	for range 2 {
		collectors.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := s.Collect(t.Context(), Policy{Keep: 1}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(done)
	collectors.Wait()
	report, err := s.Collect(t.Context(), Policy{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Entries()
	if err != nil || len(entries) != workers {
		t.Errorf("%d images, %v, want the last one of each builder", len(entries), err)
	}
	for _, e := range entries {
		if err := s.Complete(e.Digest); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "leases")); len(left) > 0 {
		t.Errorf("leases left: %v", left)
	}
	t.Logf("%d bytes stay", report.Size)
}

func TestBuilder(t *testing.T) {
	w := os.Getenv("LAYOUT_BUILDER")
	if w == "" {
		return // TestCollectBesideBuilders starts it
	}
	s := open(t, os.Getenv("LAYOUT_DIR"))
	l := s.NewLease()
	s = s.WithLease(l)
	for i := range 40 {
		l.Begin()
		d := image(t, s, "own/w"+w, "v"+strconv.Itoa(i), "shared by all", "shared "+strconv.Itoa(i%5), strings.Repeat(w+" "+strconv.Itoa(i), 1000))
		if err := s.Complete(d); err != nil {
			t.Fatal(err)
		}
		if err := l.End(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
