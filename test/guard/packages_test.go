package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/kdev-io/kdev"

// A pkg is what `go list` says of a package.
type pkg struct {
	ImportPath   string
	Name         string
	Dir          string
	Doc          string
	Imports      []string // of what is compiled, not of tests
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// rel is the package's folder, seen from the root; "." is the root itself.
func (p pkg) rel() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// packages lists the module's own, all platforms' files that this machine
// would compile, without the end-to-end tests behind their tag.
var packages = sync.OnceValues(func() ([]pkg, error) {
	// -e: a package that does not compile is for the compiler to report.
	return list("-e", "-json=ImportPath,Name,Dir,Doc,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
})

func list(args ...string) ([]pkg, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(strings.TrimSpace(stderr.String()))
	}
	var ps []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ps, nil
		} else if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
}

func own(t *testing.T) []pkg {
	t.Helper()
	ps, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

// layers is docs/architecture.md from the top down. A package imports only
// what stands in a lower layer, or below its own name. What a layer lists does
// not know of its neighbours.
var layers = [][]string{
	{"cmd/kdev"},
	{"internal/cli"},
	{"tui"},
	{"internal/session", "internal/preview"},
	{"internal/deploy", "sync", "build", "logs", "watch", "internal/local", "internal/router"},
	{"internal/registry", "internal/cluster", "internal/buildkit", "internal/config"},
	{"internal/tree", "internal/dockerfile", "internal/kube", "internal/embedded"},
	{"internal/term", "internal/process", "internal/testkube", "internal/checkout"},
	{"internal/problem"},
}

// within holds the exceptions inside one layer: an arrow that the layer's
// order does not show.
var within = map[string][]string{
	"internal/dockerfile": {"internal/tree"}, // .dockerignore is one of the tree's ignore rules
}

// programs stand outside the layers: nothing imports them, and each may
// import just what is listed here.
var programs = map[string][]string{
	"cmd/kdev-agent":    {"sync"},
	"cmd/kdev-registry": {"internal/registry"},
	"hack":              {"internal/problem", "internal/term", "internal/cluster", "hack"},
	"test":              {"internal", "sync", "build", "logs", "watch", "tui", "test"},
}

func TestImportGraph(t *testing.T) {
	for _, p := range own(t) {
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			if why := refused(p.rel(), to); why != "" {
				t.Errorf("%s imports %s: %s", p.rel(), to, why)
			}
		}
	}
}

func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/cli", "tui", true},
		{"internal/cli", "internal/problem", true},
		{"internal/session", "sync/mirror", true},
		{"sync/mirror", "sync/engine", true},
		{"sync/engine", "internal/tree", true},
		{"build", "internal/registry", true},
		{"internal/dockerfile", "internal/tree/ignore", true},
		{"cmd/kdev-agent", "sync/agent", true},
		{"internal/tree", "internal/dockerfile", false},
		{"sync/engine", "watch", false},
		{"logs/store", "build", false},
		{"watch", "internal/session", false},
		{"internal/config", "internal/cluster", false},
		{"internal/session", "internal/cli", false},
		{"internal/cli", "cmd/kdev", false},
		{"internal/kube", "hack/caps", false},
		{"cmd/kdev-agent", "internal/kube", false},
	} {
		if got := refused(c.from, c.to); (got == "") != c.ok {
			t.Errorf("%s -> %s: %q", c.from, c.to, got)
		}
	}
}

func refused(from, to string) string {
	for name, may := range programs {
		if below(to, name) && !below(from, name) {
			return "nothing imports a program"
		}
		if below(from, name) {
			if slices.ContainsFunc(may, func(m string) bool { return below(to, m) }) {
				return ""
			}
			return name + " imports only " + strings.Join(may, ", ")
		}
	}
	fromLayer, fromName := place(from)
	toLayer, toName := place(to)
	switch {
	case fromLayer < 0:
		return from + " stands in no layer: add it to test/guard and docs/architecture.md"
	case toLayer < 0:
		return to + " stands in no layer: add it to test/guard and docs/architecture.md"
	case fromName == toName || slices.Contains(within[fromName], toName):
		return ""
	case toLayer == fromLayer:
		return "neighbours do not know each other"
	case toLayer < fromLayer:
		return "dependencies point downwards"
	}
	return ""
}

func place(rel string) (layer int, name string) {
	for i, names := range layers {
		for _, n := range names {
			if below(rel, n) {
				return i, n
			}
		}
	}
	return -1, ""
}

func below(rel, name string) bool {
	return rel == name || strings.HasPrefix(rel, name+"/")
}

// What a part must not know, however indirectly. A benchmark program beside the
// code that it measures is no part of it, and may make itself a cluster.
func TestForeignKnowledge(t *testing.T) {
	const (
		cobra     = "github.com/spf13/cobra"
		bubbletea = "charm.land/bubbletea/v2"
		clientGo  = "k8s.io/client-go"
		docker    = "github.com/moby/moby/client"
	)
	for name, never := range map[string][]string{
		"logs":           {cobra, bubbletea, docker},
		"sync":           {cobra, bubbletea, docker},
		"watch":          {cobra, bubbletea, docker, clientGo, "k8s.io/api", "k8s.io/apimachinery"},
		"build":          {cobra, bubbletea},
		"cmd/kdev-agent": {cobra, bubbletea, docker, clientGo, "k8s.io/api", "k8s.io/apimachinery"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"-deps", "-json=ImportPath"}
			for _, p := range own(t) {
				if below(p.rel(), name) && (p.Name != "main" || below(name, "cmd")) {
					args = append(args, p.ImportPath)
				}
			}
			if len(args) == 2 {
				t.Fatalf("no package %s", name)
			}
			ps, err := list(args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range ps {
				for _, n := range never {
					if below(p.ImportPath, n) {
						t.Errorf("%s depends on %s", name, p.ImportPath)
					}
				}
			}
		})
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range own(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.rel())
		}
	}
}

// The user named the top level.
func TestTopLevel(t *testing.T) {
	want := []string{"build", "cmd", "hack", "internal", "logs", "sync", "test", "tui", "watch"}
	var got []string
	for _, p := range own(t) {
		top, _, _ := strings.Cut(p.rel(), "/")
		if !slices.Contains(got, top) {
			got = append(got, top)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Go code in %v, want it in %v", got, want)
	}
}
