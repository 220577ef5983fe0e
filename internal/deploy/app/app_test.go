package app

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/config"
)

var update = flag.Bool("update", false, "rewrite the texts that tests expect")

// Each folder of testdata is a project; dev.yaml and prod.yaml in it are what its two
// environments render to, twice.
func TestObjects(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/kdev.yaml")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no projects", err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		for _, name := range []string{"dev", "prod"} {
			t.Run(filepath.Base(dir)+"/"+name, func(t *testing.T) {
				var outs [2]string
				for i := range outs {
					p, err := config.Load(dir, config.LoadOptions{Env: map[string]string{}})
					if err != nil {
						t.Fatal(err)
					}
					e, err := p.Environment(name)
					if err != nil {
						t.Fatal(err)
					}
					outs[i] = text(t, e.Manifests)
				}
				if outs[0] != outs[1] {
					t.Error("two renders differ")
				}
				golden := filepath.Join(dir, name+".golden")
				if *update {
					if err := os.WriteFile(golden, []byte(outs[0]), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil || !bytes.Equal(want, []byte(outs[0])) {
					t.Errorf("%v: got\n%s", err, outs[0])
				}
			})
		}
	}
}

func text(t *testing.T, sources []config.Source) string {
	t.Helper()
	var b strings.Builder
	for _, s := range sources {
		if s.Apps == nil {
			continue
		}
		all, err := Objects(s.Apps)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			y, err := yaml.Marshal(r.Object)
			if err != nil {
				t.Fatal(err)
			}
			known(t, r.Object)
			fmt.Fprintf(&b, "--- # %s\n%s", r.Where, y)
		}
	}
	return b.String()
}

// known checks that Kubernetes has each field of an object, spelled so and of that type.
func known(t *testing.T, o map[string]any) {
	t.Helper()
	u := unstructured.Unstructured{Object: o}
	typed, err := scheme.Scheme.New(u.GroupVersionKind())
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o, typed, true)
	}
	if err != nil {
		t.Errorf("%s/%s: %v", u.GetKind(), u.GetName(), err)
	}
}

// Each kind that the configuration knows can be rendered, and the other way round.
func TestKindsAreThoseOfTheConfiguration(t *testing.T) {
	names := config.StoreKinds()
	if len(names) != len(kinds) {
		t.Errorf("the configuration knows %v", names)
	}
	for _, name := range names {
		if _, ok := kinds[name]; !ok {
			t.Errorf("%s is not rendered", name)
		}
	}
}
