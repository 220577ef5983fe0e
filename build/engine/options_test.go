package engine

import (
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

func TestRebase(t *testing.T) {
	const ref = "127.0.0.1:5001/shop/base@sha256:0"
	before := "# base\nFROM --platform=linux/amd64 base AS build\nRUN echo base\nFROM base:7\nCOPY --from=base \\\n  /a /b\nCOPY --from=build /c /base\n"
	after, err := rebase([]byte(before), map[string]string{"base": ref})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(strings.Replace(before, "linux/amd64 base AS", "linux/amd64 "+ref+" AS", 1), "--from=base ", "--from="+ref+" ", 1)
	if string(after) != want {
		t.Errorf("got\n%s\nwant\n%s", after, want)
	}
}
