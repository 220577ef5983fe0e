package guard

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
)

// Each example is a configuration that loads, and the manifests of each of its
// environments render, before any cluster sees them.
func TestExamplesLoadAndRender(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", config.FileName))
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, f := range files {
		dir := filepath.Dir(f)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p, err := config.Load(dir, config.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			sources := slices.Clone(p.Manifests)
			for _, e := range p.Environments {
				sources = append(sources, e.Manifests...)
			}
			for _, s := range sources {
				m, err := deploy.Render(t.Context(), dir, deploy.Sources([]config.Source{s}, p.Namespace, nil))
				if err != nil {
					t.Errorf("%s: %v", s.Where, err)
				} else if len(m.Objects) == 0 {
					t.Errorf("%s: nothing", s.Where)
				}
			}
			for _, s := range p.Services {
				if s.Build == nil {
					t.Errorf("%s is not built", s.Name)
					continue
				}
				for _, b := range bases(t, s.Build.Dockerfile) {
					if strings.Contains(b, "@") || b != "scratch" && !strings.Contains(b, ":") {
						t.Errorf("%s: %s is not how people write it: name:tag", s.Build.Dockerfile, b)
					}
				}
			}
		})
	}
}

// A lockfile that names download hosts works only where these are reachable.
func TestLockfilesNameNoHost(t *testing.T) {
	err := filepath.WalkDir(filepath.Join(root, "examples"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "node_modules" {
			return orSkip(err)
		}
		if d.Name() != "package-lock.json" {
			return nil
		}
		b, err := os.ReadFile(p)
		if strings.Contains(string(b), `"resolved"`) {
			t.Errorf("%s names download addresses: set omit-lockfile-registry-resolved and make it again", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func orSkip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

func bases(t *testing.T, dockerfile string) []string {
	t.Helper()
	b, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "FROM" {
			out = append(out, f[1])
		}
	}
	return out
}
