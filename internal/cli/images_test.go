package cli

import (
	"maps"
	"testing"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/registry"
)

func TestAsTheyRun(t *testing.T) {
	stored := map[string]string{"web": "localhost:5001/shop/web:1@sha256:a", "api": "localhost:5001/shop/api:1@sha256:b", "new": "localhost:5001/shop/new:1@sha256:c"}
	running := map[string]string{"web": "registry:5000/shop/web:1@sha256:a", "api": "registry:5000/shop/api:1@sha256:old", "db": "redis:7"}
	want := map[string]string{"web": running["web"], "api": stored["api"], "new": stored["new"]}
	if got := asTheyRun(stored, running); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestPullsAreRemembered(t *testing.T) {
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const root = "/shop"
	here := func() pulls { return pullsOf(store, root) }
	for _, step := range []struct {
		context string
		to      *build.Target
	}{
		{"kind-kdev", nil},
		{"far", &build.Target{Push: "push.example/acme", Pull: "pull.example/acme"}},
	} {
		if err := rememberPulls(store, root, step.context, step.to); err != nil {
			t.Fatal(err)
		}
	}
	image := []madeImage{{Service: "web", Ref: "localhost:5001/shop/web:0123@sha256:0123"}}
	for context, want := range map[string]string{
		"":          "pull.example/acme/shop/web:0123@sha256:0123", // where it was up last
		"far":       "pull.example/acme/shop/web:0123@sha256:0123",
		"kind-kdev": image[0].Ref,
		"unknown":   image[0].Ref,
	} {
		if got := here().as(image, context)[0].Ref; got != want {
			t.Errorf("context %q: %s, not %s", context, got, want)
		}
	}
	if err := rememberPulls(store, root, "kind-kdev", nil); err != nil {
		t.Fatal(err)
	}
	if got := here().registry(""); got != "" {
		t.Errorf("the last time was on this machine's cluster, and %s is named", got)
	}
	if got := pullsOf(store, "/other").registry("far"); got != "" {
		t.Errorf("another checkout has %s", got)
	}
	if err := store.PutMeta(pullsKind, pullsKey(root), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if got := here(); got.Last != "" || got.registry("far") != "" {
		t.Errorf("from half a file: %v", got)
	}
}
