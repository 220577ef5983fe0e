package engine

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	buildkit "github.com/moby/buildkit/client"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KDEV_TEST_TOKEN", "y")
	o := Options{
		Secrets: map[string]Secret{"a": {File: file}, "b": {Env: "KDEV_TEST_TOKEN"}},
		Network: "host", Hosts: map[string]string{"z": "10.0.0.1", "a": "10.0.0.2"},
		CacheFrom: []string{"ghcr.io/acme/web:cache", "type=local,src=/tmp/x"}, CacheTo: []string{"type=registry,ref=ghcr.io/acme/web:cache,mode=max"},
	}
	var opt buildkit.SolveOpt
	if err := o.attach(&opt); err != nil {
		t.Fatal(err)
	}
	want := []buildkit.CacheOptionsEntry{{Type: "registry", Attrs: map[string]string{"ref": "ghcr.io/acme/web:cache"}}, {Type: "local", Attrs: map[string]string{"src": "/tmp/x"}}}
	if !reflect.DeepEqual(opt.CacheImports, want) || opt.CacheExports[0].Attrs["mode"] != "max" {
		t.Errorf("caches %+v %+v", opt.CacheImports, opt.CacheExports)
	}
	if len(opt.Session) != 2 || !slices.Equal(opt.AllowedEntitlements, []string{"network.host"}) {
		t.Errorf("%d attachables, entitlements %v", len(opt.Session), opt.AllowedEntitlements)
	}
	attrs := map[string]string{}
	o.attrs(attrs)
	if attrs["force-network-mode"] != "host" || attrs["add-hosts"] != "a=10.0.0.2,z=10.0.0.1" {
		t.Errorf("attributes %v", attrs)
	}

	if (Options{Secrets: o.Secrets, Network: "default"}).Fields() != nil {
		t.Error("a secret is part of the cache's key")
	}
	if slices.Equal(o.Fields(), Options{Network: "none"}.Fields()) {
		t.Error("two networks have one key")
	}
	for name, s := range map[string]Secret{"no variable": {Env: "KDEV_TEST_NONE"}, "no file": {File: file + "x"}, "large": {File: large(t)}} {
		err := Options{Secrets: map[string]Secret{"a": s}}.attach(&buildkit.SolveOpt{})
		if p := problem.As(err); p == nil || p.Code != "build-secret" {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if p := problem.As(Options{SSH: []string{"default=" + file}}.attach(&buildkit.SolveOpt{})); p == nil || p.Code != "build-ssh" {
		t.Errorf("%v", p)
	}
}

func large(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The engine is sent the text with the references of the project's images, and
// never one that it may still have of the same size.
func TestRebasedDockerfile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	for path, text := range map[string]string{file: "FROM base AS base\nRUN npm ci\nFROM base\n", file + ".dockerignore": "x\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What else lies there is not sent: the engine asks for some of it only, which
	// a folder over a folder does not understand.
	if err := os.MkdirAll(filepath.Join(dir, "sub", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	req := Request{Context: dir, Dockerfile: file, Bases: map[string]string{"base": "127.0.0.1:5001/shop/base@sha256:0"}}
	if err := req.rebase(); err != nil {
		t.Fatal(err)
	}
	opt, err := solveOpt(req)
	if err != nil {
		t.Fatal(err)
	}
	for name := range opt.FrontendAttrs {
		if strings.HasPrefix(name, "context:") {
			t.Errorf("the engine is given %s, which it takes for the stage too", name)
		}
	}
	files := map[string]string{}
	err = opt.LocalMounts["dockerfile"].Walk(t.Context(), "", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		r, err := opt.LocalMounts["dockerfile"].Open(path)
		if err != nil {
			return err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		files[path] = string(text)
		if info, ierr := d.Info(); ierr != nil || info.ModTime().IsZero() || info.ModTime().Unix() == 0 {
			t.Errorf("%s: %v %v", path, info.ModTime(), ierr)
		}
		return err
	})
	want := map[string]string{"Dockerfile": "FROM 127.0.0.1:5001/shop/base@sha256:0 AS base\nRUN npm ci\nFROM base\n", "Dockerfile.dockerignore": "x\n"}
	if err != nil || !maps.Equal(files, want) {
		t.Errorf("sent %q %v, want %q", files, err, want)
	}
	var sent strings.Builder
	if err := sendContext(t.Context(), &sent, req); err != nil || !strings.Contains(sent.String(), want["Dockerfile"]) {
		t.Errorf("the classic builder is sent %v", err)
	}
}
