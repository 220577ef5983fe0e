package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDamagedToken(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := store.Token()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := store.Token(); err != nil || again != first || len(store.Dropped()) > 0 {
		t.Fatalf("%q became %q, %v, dropped %q", first, again, err, store.Dropped())
	}
	for _, content := range []string{"", first[:5], strings.Repeat("\x00", len(first)), first[:20] + "\n" + first[20:], strings.Repeat("a", 1000)} {
		if err := os.WriteFile(filepath.Join(dir, "kdev/registry/token"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		store, err := OpenStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.Token()
		if err != nil || got == content || len(got) != len(first) {
			t.Errorf("%q became %q, %v", content, got, err)
		}
		if again, err := store.Token(); err != nil || again != got {
			t.Errorf("then %q, %v", again, err)
		}
		if said := store.Dropped(); len(said) != 1 || !strings.Contains(said[0], "token") {
			t.Errorf("said %q", said)
		}
	}
	// What a person has chosen stays.
	own := "my-own-password-for-this"
	if err := store.PutMeta("registry", "token", []byte(own)); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Token(); err != nil || got != own {
		t.Errorf("%q, %v", got, err)
	}
}
