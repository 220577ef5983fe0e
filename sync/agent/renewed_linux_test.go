package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// publish writes a volume as the kubelet does: a folder of its own for each state, and links.
func publish(t *testing.T, volume, state string, files map[string]string) {
	t.Helper()
	dir := filepath.Join(volume, ".."+state)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o755))
	for name, text := range files {
		must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(os.Symlink(".."+state, filepath.Join(volume, "..data_tmp")))
	must(os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")))
	for name := range files {
		if err := os.Symlink("..data/"+name, filepath.Join(volume, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	links, err := os.ReadDir(volume)
	must(err)
	for _, l := range links {
		if _, err := os.Stat(filepath.Join(volume, l.Name())); errors.Is(err, os.ErrNotExist) {
			must(os.Remove(filepath.Join(volume, l.Name())))
		}
	}
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestRenewed(t *testing.T) {
	volume := t.TempDir()
	publish(t, volume, "1", map[string]string{"a.conf": "old", "b.conf": "old", "c.conf": "old"})
	want := map[string]string{"a.conf": sumOf("new"), "b.conf": gone, "d.conf": sumOf("new")}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- renewed(ctx, volume, want) }()
	// Another change comes first.
	publish(t, volume, "2", map[string]string{"a.conf": "newer than old", "b.conf": "old", "c.conf": "old"})
	select {
	case err := <-done:
		t.Fatalf("another content was taken for it: %v", err)
	default:
	}
	publish(t, volume, "3", map[string]string{"a.conf": "new", "c.conf": "old", "d.conf": "new"})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := renewed(ctx, volume, want); err != nil { // it came before anybody waited
		t.Fatal(err)
	}
}

func TestRenewedEnds(t *testing.T) {
	volume := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- renewed(ctx, volume, map[string]string{"a": sumOf("never")}) }()
	over := errors.New("over")
	cancel(over)
	if err := <-done; !errors.Is(err, over) {
		t.Errorf("%v", err)
	}
	if err := renewed(t.Context(), filepath.Join(volume, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
	for _, args := range [][]string{nil, {"/a"}, {"/a", "b"}, {"/a", "b", "c", "d"}} {
		if code := Renewed(args); code != 2 {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}
