package agent

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestSeed(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	old := time.Unix(1_000_000_000, 0)
	for _, f := range []struct {
		name string
		perm os.FileMode
	}{{"a.txt", 0o644}, {"bin/run", 0o4755}, {"locked/secret", 0o400}} {
		p := filepath.Join(from, f.name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(f.name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, modeOf(uint32(f.perm))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a.txt", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(from, "locked"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(from, "locked"), 0o755); os.Chmod(filepath.Join(to, "locked"), 0o755) })
	if err := os.WriteFile(filepath.Join(to, "a.txt"), []byte("of the pod before"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if code := Seed([]string{from, to, filepath.Join(from, "not-there"), empty}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for name, perm := range map[string]uint32{"a.txt": 0o644, "bin/run": 0o4755, "locked/secret": 0o400} {
		info, err := os.Stat(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || string(content) != name {
			t.Errorf("%s holds %q, %v", name, content, err)
		}
		if permOf(info) != perm || !info.ModTime().Equal(old) {
			t.Errorf("%s: mode %o, time %s", name, permOf(info), info.ModTime())
		}
	}
	if got, err := os.Readlink(filepath.Join(to, "link")); got != "a.txt" {
		t.Errorf("link to %q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(to, "locked")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("locked: %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(to, "pipe")); err == nil {
		t.Error("a pipe was copied")
	}
	if code := Seed([]string{from}); code != 2 {
		t.Errorf("half a pair: exit code %d", code)
	}
	if code := Seed([]string{from, filepath.Join(to, "not-mounted")}); code != 1 {
		t.Errorf("no volume: exit code %d", code)
	}
}
