package guard

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
)

// The libraries that kdev is built on, and the package that each is there for.
var libraries = []struct{ module, imported, by string }{
	{"github.com/spf13/cobra", "github.com/spf13/cobra", "internal/cli"},
	{"k8s.io/client-go", "k8s.io/client-go/kubernetes", "internal/kube"},
	{"github.com/fsnotify/fsnotify", "github.com/fsnotify/fsnotify", "watch"},
	{"github.com/google/go-containerregistry", "github.com/google/go-containerregistry/pkg/v1", "internal/registry"},
	{"sigs.k8s.io/kind", "sigs.k8s.io/kind/pkg/cluster", "internal/cluster"},
	{"charm.land/bubbletea/v2", "charm.land/bubbletea/v2", "tui"},
}

func TestLibraries(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Module  struct{ Path string }
		Go      string
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Module.Path != module {
		t.Errorf("module %s, want %s", mod.Module.Path, module)
	}
	for _, l := range libraries {
		direct := false
		for _, r := range mod.Require {
			direct = direct || r.Path == l.module && !r.Indirect
		}
		if !direct {
			t.Errorf("go.mod does not require %s directly", l.module)
		}
		used := slices.ContainsFunc(own(t), func(p pkg) bool {
			return p.rel() == l.by && slices.Contains(p.Imports, l.imported)
		})
		if !used {
			t.Errorf("%s does not import %s, which is there for it", l.by, l.imported)
		}
	}
}
