package build

import (
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/buildkit"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// What has to be run where nothing can says which ways there are; what has not is
// built all the same, also where the BuildKit that is named is away.
func TestNothingRunsSteps(t *testing.T) {
	docker, err := client.New(client.WithHost("tcp://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	away, err := buildkit.Open(buildkit.Options{Address: "unix://" + t.TempDir() + "/none"})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	for name, c := range map[string]struct {
		dockerfile string
		options    []Option
		code       string
		where      string
		hint       string
	}{
		"a layer":             {"FROM scratch\nCOPY a /\nRUN [\"/a\"]\nCOPY a /b\n", nil, "engine-needed", "Dockerfile:3", "buildkit: cluster"},
		"all of it":           {"FROM scratch\nCOPY a /\nRUN [\"/a\"]\n", nil, "engine-missing", "Dockerfile:3", "BUILDKIT_HOST"},
		"nothing":             {"FROM scratch\nCOPY a /\n", nil, "", "", ""},
		"BuildKit, a layer":   {"FROM scratch\nCOPY a /\nRUN [\"/a\"]\nCOPY a /b\n", []Option{BuildKit(away)}, "buildkit-missing", "", "BUILDKIT_HOST"},
		"BuildKit, all of it": {"FROM scratch\nCOPY a /\nRUN [\"/a\"]\n", []Option{BuildKit(away)}, "buildkit-missing", "", "BUILDKIT_HOST"},
		"BuildKit, nothing":   {"FROM scratch\nCOPY a /\n", []Option{BuildKit(away)}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := registry.OpenStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			root, idx := project(t, "Dockerfile", c.dockerfile, "a", "1")
			spec := Spec{Project: "shop", Service: "web", Root: root, Context: root, Dockerfile: root + "/Dockerfile", Platform: "linux/amd64"}
			r, err := New(docker, store, registry.Local(), idx, c.options...).Build(t.Context(), spec, nil)
			if c.code == "" {
				if err != nil || r.Rung != "assembled" {
					t.Errorf("%+v %v", r, err)
				}
				return
			}
			p := problem.As(err)
			if p == nil || p.Code != c.code || !strings.HasPrefix(p.Where, c.where) || !strings.Contains(p.Hint, c.hint) {
				t.Errorf("%v %+v", err, p)
			}
		})
	}
}
