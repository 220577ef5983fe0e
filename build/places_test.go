package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// A base that nobody has is told with the line of kdev.yaml, and with why no engine
// was asked for it.
func TestABaseThatNobodyHas(t *testing.T) {
	const base = "127.0.0.1:1/nosuch:1"
	places := map[string]string{"base": "kdev.yaml:7", "image": "kdev.yaml:5"}
	for name, c := range map[string]struct {
		spec  Spec
		where string
	}{
		"command":    {Spec{Command: &Command{Run: []string{"true"}, Output: "a", To: "/a", Base: base}, Places: places}, "kdev.yaml:7"},
		"image":      {Spec{Image: base, Places: places}, "kdev.yaml:5"},
		"dockerfile": {Spec{Dockerfile: "Dockerfile"}, "Dockerfile:1"},
	} {
		for host, hint := range map[string]string{"tcp://127.0.0.1:1": "DOCKER_HOST", refusing(t): "docker info"} {
			t.Run(name+" "+host[:3], func(t *testing.T) {
				docker, err := client.New(client.WithHost(host))
				if err != nil {
					t.Fatal(err)
				}
				defer docker.Close()
				store, err := registry.OpenStore(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				root, idx := project(t, "Dockerfile", "FROM "+base+"\nCOPY a /\n", "a", "1")
				spec := c.spec
				spec.Project, spec.Service, spec.Root, spec.Context, spec.Platform = "shop", "web", root, root, "linux/amd64"
				if spec.Dockerfile != "" {
					spec.Dockerfile = filepath.Join(root, spec.Dockerfile)
				}
				_, err = New(docker, store, registry.Local(), idx).Build(t.Context(), spec, nil)
				p := problem.As(err)
				if p == nil || p.Where != c.where || !strings.Contains(p.Summary, "cannot be had") || !strings.Contains(p.Error(), "the engine: ") || !strings.Contains(p.Error(), "pull ") || !strings.Contains(p.Hint, hint) {
					t.Errorf("%v\n%+v", err, p)
				}
			})
		}
	}
}

// refusing is the address of a socket that may not be used. Root may use all, so the
// folder's name has to do for it.
func refusing(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "permission denied")
	if err := os.Mkdir(dir, 0); err != nil {
		t.Fatal(err)
	}
	return "unix://" + dir + "/docker.sock"
}

func TestSecretsHaveALine(t *testing.T) {
	for name, s := range map[string]engine.Secret{
		"file": {File: "/nonexistent", Where: "kdev.yaml:3"},
		"env":  {Env: "KDEV_NO_SUCH_VARIABLE", Where: "kdev.yaml:3"},
	} {
		_, err := s.Read("token")
		if p := problem.As(err); p == nil || p.Where != "kdev.yaml:3" || p.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
