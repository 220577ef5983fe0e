package embedded

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestRegistryIsStaticSmallAndReproducible(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	program, err := Program(t.Context(), "kdev-registry", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if len(program) >= 8<<20 {
		t.Errorf("the registry has %d bytes, want less than 8 MiB", len(program))
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the registry needs a dynamic linker")
		}
	}

	// The same sources in another folder.
	root := compiledFrom()
	other := t.TempDir()
	sources := map[string][]byte{}
	if err := collect(root, "cmd/kdev-registry", sources, map[string]bool{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if sources[name], err = os.ReadFile(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range sources {
		path := filepath.Join(other, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := Compile(t.Context(), other, "kdev-registry", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	again, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(program, again) {
		t.Error("two folders give different programs")
	}
}

func TestSourceKeyFollowsImportedPackagesOnly(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := func() string {
		t.Helper()
		k, err := sourceKey(t.Context(), root, "kdev-agent", "amd64")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write("go.mod", "module "+module+"\n\ngo 1.26\n")
	write("go.sum", "")
	write("cmd/kdev-agent/main.go", "package main\n\nimport _ \""+module+"/a\"\n\nfunc main() {}\n")
	write("a/a.go", "package a\n")
	write("b/b.go", "package b\n")
	first := key()
	for _, step := range []struct {
		name, content string
		same          bool
	}{
		{"b/b.go", "package b // edited\n", true},
		{"a/a_test.go", "package a\n", true},
		{"a/a.go", "package a // edited\n", false},
	} {
		write(step.name, step.content)
		if got := key(); (got == first) != step.same {
			t.Errorf("after an edit of %s: key same = %v, want %v", step.name, got == first, step.same)
		}
	}
}

func TestUnknownProgram(t *testing.T) {
	for _, c := range []struct{ name, arch string }{{"kdev", "amd64"}, {"kdev-registry", "s390x"}, {"../x", "amd64"}} {
		_, err := Program(t.Context(), c.name, c.arch)
		if p := problem.As(err); p == nil || p.Code != "program-unknown" {
			t.Errorf("%v: %v, want program-unknown", c, err)
		}
	}
}
