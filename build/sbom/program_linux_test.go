package sbom

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A Go program says what it was linked from: this one, for example.
func TestScanProgram(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir()) // other processes have files of that name too
	got, err := Scan(t.Context(), image(t, map[string]string{"app/web*": string(program), "bin/sh*": "\x7fELF" + strings.Repeat("x", 8000), "run*": strings.Repeat("#", 8000)}))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(urls(got), "\n")
	if all != "pkg:golang/stdlib@"+strings.TrimPrefix(runtime.Version(), "go") { // a test names no modules
		t.Errorf("found %s", all)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "kdev-sbom-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
