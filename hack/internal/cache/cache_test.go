package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func open(t *testing.T) *Cache {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHashKeepsPartsApart(t *testing.T) {
	seen := map[string]Recipe{}
	for _, r := range []Recipe{nil, {""}, {"", ""}, {"ab", "c"}, {"a", "bc"}, {"abc"}, {"c", "ab"}} {
		hash := r.Hash()
		if other, ok := seen[hash]; ok {
			t.Errorf("%q and %q have the same hash", r, other)
		}
		if len(hash) != 12 || hash != r.Hash() {
			t.Errorf("%q: hash %q", r, hash)
		}
		seen[hash] = r
	}
}

func TestMake(t *testing.T) {
	c := open(t)
	fill := func(text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644) }
	}
	first, cached, err := c.Make("thing", Recipe{"1"}, fill("one"))
	if err != nil || cached {
		t.Fatalf("cached %v, %v", cached, err)
	}
	if again, cached, err := c.Make("thing", Recipe{"1"}, fill("never")); err != nil || !cached || again != first {
		t.Errorf("again: %s, cached %v, %v", again, cached, err)
	}
	// A failure leaves neither a result nor a trace, and what was there stays.
	boom := errors.New("boom")
	if _, _, err := c.Make("thing", Recipe{"2"}, func(dir string) error {
		_ = fill("half")(dir)
		return boom
	}); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(c.Root); len(entries) != 1 || filepath.Join(c.Root, entries[0].Name()) != first {
		t.Errorf("after a failure: %v", entries)
	}
	// A new recipe replaces the old artefact, and not one whose name only starts the same.
	other, _, err := c.Make("thing-else", Recipe{"1"}, fill("other"))
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := c.Make("thing", Recipe{"2"}, fill("two"))
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{first: false, second: true, other: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s there: %v", dir, err == nil)
		}
	}
}

func TestLock(t *testing.T) {
	c := open(t)
	left := filepath.Join(c.Root, unfinished+"thing-1")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	release, err := c.Lock(context.Background(), func() { t.Error("waits for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what an interrupted run left is still there")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := c.Lock(ctx, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Errorf("second lock: waited %v, %v", waited, err)
	}
	release()
	release, err = c.Lock(context.Background(), func() { t.Error("the lock was released") })
	if err != nil {
		t.Fatal(err)
	}
	release()
}
