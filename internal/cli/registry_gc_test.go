package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A tag of the store counts as much as a digest: the pods that would pull it may
// not exist yet.
func TestLiveByTag(t *testing.T) {
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := registry.Known(store).Host
	config, err := store.PutBlob([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(repo, tag, mark string) layout.Digest {
		t.Helper()
		d, err := store.PutManifest(repo, tag, layout.OCIManifest, []byte(`{"schemaVersion":2,"mediaType":"`+layout.OCIManifest+
			`","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+string(config)+`","size":2},"layers":[],"annotations":{"mark":"`+mark+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	nightly, latest := put("shop/nightly", "v1", "a"), put("shop/web", "latest", "b")
	put("library/redis", "7", "c")
	digest := layout.DigestOf([]byte("x"))
	got := namedIn([]byte(`{"items":[{"image":"`+host+`/shop/nightly:v1"},{"image":"`+host+`/shop/web"},{"image":"`+host+`/shop/gone:v1"},
		{"image":"redis:7"},{"image":"`+host+`/shop/web:x@`+string(digest)+`"}]}`), store)
	want := []layout.Digest{digest, nightly, latest}
	if !slices.Equal(got, want) {
		t.Errorf("live are %v, want %v", got, want)
	}
}

// An engine that does not answer may have clusters: nothing is removed for not being
// named by one.
func TestGCWithoutAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		script string // of the engine's client; "": none is installed
		want   string // of the summary; "": gc goes on
	}{
		"does not answer": {"echo 'Cannot connect to the Docker daemon at tcp://127.0.0.1:1.' >&2; exit 1", "does not answer"},
		"may not be used": {"echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1", "may not use"},
		"not installed":   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			if c.script != "" {
				if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin)
			t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
			t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "")
			t.Setenv("XDG_DATA_HOME", t.TempDir())
			t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
			docker, err := client.New(client.FromEnv)
			if err != nil {
				t.Fatal(err)
			}
			defer docker.Close()
			var out, said strings.Builder
			for _, dry := range []bool{true, false} {
				o := &gcOptions{env: Env{Out: &out, Err: &said}, keep: 1, dryRun: dry, output: "text"}
				err := o.run(t.Context())
				p := problem.As(err)
				if c.want == "" && err != nil || c.want != "" && (p == nil || p.Code != "gc-cluster-unknown" || !strings.Contains(p.Summary, c.want) || !strings.Contains(p.Hint, "--force")) {
					t.Errorf("dry run %v: %v %+v", dry, err, p)
				}
				if c.want != "" && out.Len() > 0 {
					t.Errorf("dry run %v: it went on: %s", dry, out.String())
				}
			}
			o := &gcOptions{env: Env{Out: &out, Err: &said}, keep: 1, output: "text", force: true}
			if err := o.run(t.Context()); err != nil {
				t.Error(err)
			}
			if warned := strings.Contains(said.String(), "warning: "); warned != (c.want != "") {
				t.Errorf("--force says %q", said.String())
			}
		})
	}
}
