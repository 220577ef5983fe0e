package session

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/tree"
)

func TestRuleDest(t *testing.T) {
	tests := []struct{ from, to, rel, want string }{
		{"src", "/app/src", "src/a/b.js", "/app/src/a/b.js"},
		{"src/", "/app", "src/a.js", "/app/a.js"},
		{".", "/app", "a.js", "/app/a.js"},
		{"a.js", "/app/b.js", "a.js", "/app/b.js"},
		{"a.js", "/app/", "a.js", "/app/a.js"},
		{"src", "/app", "srcs/a.js", ""},
		{"src", "/app", "a.js", ""},
	}
	for _, test := range tests {
		got, ok := ruleDest(config.SyncRule{From: test.from, To: test.to}, test.rel)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%s → %s, %s: got %q %v, want %q", test.from, test.to, test.rel, got, ok, test.want)
		}
	}
}

func TestMapping(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"Dockerfile":  "FROM scratch\nCOPY src /app/src\nCOPY conf /etc/app\nCOPY lock ./\nRUN install lock\n",
		"src/main.py": "x", "src/sub/a.py": "y", "conf/a.ini": "z", "lock": "l", "README": "r",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := dockerfile.Load(dockerfile.Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")})
	if err != nil {
		t.Fatal(err)
	}
	index, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	inferred := &mapping{plan: plan, dir: dir}
	off := &mapping{plan: plan, dir: dir, sync: config.Sync{Off: true}}
	ruled := &mapping{plan: plan, dir: dir, sync: config.Sync{Rules: []config.SyncRule{{From: "src", To: "/srv"}, {From: "lock", To: "/app/"}}}}

	tests := []struct {
		m      *mapping
		rel    string
		action dockerfile.Action
		dests  []string
	}{
		{inferred, "conf/a.ini", dockerfile.Rebuild, nil}, // the RUN behind it reads everything
		{off, "conf/a.ini", dockerfile.Rebuild, nil},
		{off, "README", dockerfile.Nothing, nil},
		{ruled, "src/main.py", dockerfile.Sync, []string{"/srv/main.py"}},
		{ruled, "lock", dockerfile.Sync, []string{"/app/lock"}},
		{ruled, "README", dockerfile.Nothing, nil},
	}
	for _, test := range tests {
		v := test.m.explain(test.rel)
		if v.Action != test.action || !slices.Equal(v.Dests, test.dests) {
			t.Errorf("%s: got %v %q (%s), want %v %q", test.rel, v.Action, v.Dests, v.Why, test.action, test.dests)
		}
	}
	placed, err := ruled.placements(context.Background(), index)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(placed)), []string{"/app/lock", "/srv/main.py", "/srv/sub", "/srv/sub/a.py"}; !slices.Equal(got, want) {
		t.Errorf("placements: got %q, want %q", got, want)
	}
	if placed, err := off.placements(context.Background(), index); err != nil || len(placed) > 0 {
		t.Errorf("with sync: off: %v %v", placed, err)
	}
}
