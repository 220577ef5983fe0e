package golang

import (
	"os"
	"path/filepath"
	"testing"
)

func TestName(t *testing.T) {
	for _, c := range []struct{ gomod, dir, main, want string }{
		{"module example.test/shop\n", "", "", "shop"},
		{"module example.test/shop\n", "", "cmd/web", "web"},
		{"module example.test/shop\n", "tools", ".", "tools"},
		{"module example.test/shop\n", "tools/x", "..", "tools"},
		{"// a shop\nmodule \"example.test/shop/v2\" // the second\n", "", ".", "shop"},
		{"module shop\n", "", "", "shop"},
		{"module v2\n", "", "", "v2"},
		{"", "", "", "checkout"},
		{"", "", "cmd/web", "web"},
	} {
		root := filepath.Join(t.TempDir(), "checkout")
		if err := os.MkdirAll(filepath.Join(root, filepath.FromSlash(c.dir)), 0o755); err != nil {
			t.Fatal(err)
		}
		if c.gomod != "" {
			if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte(c.gomod), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p := Program{Dir: filepath.Join(root, filepath.FromSlash(c.dir)), Main: c.main}
		if got := p.Name(); got != c.want {
			t.Errorf("%q, folder %q, main %q: %q, want %q", c.gomod, c.dir, c.main, got, c.want)
		}
	}
}
