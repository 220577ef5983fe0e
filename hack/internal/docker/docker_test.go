package docker

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestPresent(t *testing.T) {
	text := `[
	  {"Id":"sha256:1","RepoTags":["a:1","a:2"],"RepoDigests":[],"Config":{"Labels":{"dev.kdev.offline":"abc"}}},
	  {"Id":"sha256:2","RepoTags":[],"RepoDigests":["kindest/node@sha256:feed"],"Config":{"Labels":null}}
	]`
	found, err := present([]byte(text), []string{"a:1", "b:1", "kindest/node:v1@sha256:feed", "kindest/node:v1@sha256:beef"})
	if err != nil {
		t.Fatal(err)
	}
	for ref, id := range map[string]string{"a:1": "sha256:1", "b:1": "", "kindest/node:v1@sha256:feed": "sha256:2", "kindest/node:v1@sha256:beef": "", "a:2": ""} {
		if found[ref].ID != id {
			t.Errorf("%s: %q, want %q", ref, found[ref].ID, id)
		}
	}
	if found["a:1"].Recipe() != "abc" || found["kindest/node:v1@sha256:feed"].Recipe() != "" {
		t.Errorf("recipes: %+v", found)
	}
}

func TestWithoutTag(t *testing.T) {
	for in, want := range map[string]string{
		"kindest/node:v1@sha256:f":     "kindest/node@sha256:f",
		"kindest/node@sha256:f":        "kindest/node@sha256:f",
		"localhost:5001/x@sha256:f":    "localhost:5001/x@sha256:f",
		"localhost:5001/x:v2@sha256:f": "localhost:5001/x@sha256:f",
	} {
		if got := withoutTag(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestRegistryOf(t *testing.T) {
	for ref, want := range map[string]string{
		"redis:7": "docker.io", "kindest/node:v1": "docker.io", "gcr.io/distroless/static": "gcr.io",
		"localhost:5001/x": "localhost:5001", "localhost/x": "localhost", "10.0.0.1:5000/x:1": "10.0.0.1:5000",
	} {
		if got := registryOf(ref); got != want {
			t.Errorf("%s: got %s, want %s", ref, got, want)
		}
	}
}

func TestWriteTar(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("bytes"), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteTar(&out, []Entry{
		{Name: "Dockerfile", Content: []byte("FROM x")},
		{Name: "bin/a", From: file},
		{Name: "bin/b", From: file, Mode: 0o600},
		{Name: "bin/c", Link: "a"},
	}); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name, content, link string
		mode                int64
	}{{"Dockerfile", "FROM x", "", 0o644}, {"bin/a", "bytes", "", 0o755}, {"bin/b", "bytes", "", 0o600}, {"bin/c", "", "a", 0o644}}
	in := tar.NewReader(&out)
	for _, w := range want {
		header, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(in)
		if header.Name != w.name || string(content) != w.content || header.Linkname != w.link || header.Mode != w.mode || header.Uid != 0 {
			t.Errorf("got %s %q -> %q %o, want %+v", header.Name, content, header.Linkname, header.Mode, w)
		}
	}
	if err := WriteTar(io.Discard, []Entry{{Name: "x", From: file + ".missing"}}); err == nil {
		t.Error("a missing file is no error")
	}
}
