package ignore

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGitRulesByPlace(t *testing.T) {
	isolateGit(t)
	top := t.TempDir()
	put := func(p, text string) {
		t.Helper()
		file := filepath.Join(top, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, top, nil, "init", "-q")
	put(".gitignore", "/svc/dist\n*.log\n")
	put("svc/.gitignore", "!keep.log\n")
	put(".git/info/exclude", "*.mine\n")
	global := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "git", "ignore")
	if err := os.MkdirAll(filepath.Dir(global), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(global, []byte(".DS_Store\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	put("svc/vendored/.gitignore", "own\n")
	git(t, filepath.Join(top, "svc/vendored"), nil, "init", "-q")

	// The root of the project is a folder of the repository.
	root := filepath.Join(top, "svc")
	m, err := Git(root, []string{"tmp/", "!important.log"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Repository().Top != top || m.Repository().Dir != filepath.Join(top, ".git") {
		t.Errorf("%+v", m.Repository())
	}
	for _, c := range []struct {
		path string
		dir  bool
		want Verdict
	}{
		{"main.go", false, Verdict{}},
		{"dist", true, Verdict{true, "/svc/dist", filepath.Join(top, ".gitignore"), 1}},
		{"dist/app.js", false, Verdict{true, "/svc/dist", filepath.Join(top, ".gitignore"), 1}},
		{"a/x.log", false, Verdict{true, "*.log", filepath.Join(top, ".gitignore"), 2}},
		{"a/keep.log", false, Verdict{false, "!keep.log", filepath.Join(root, ".gitignore"), 1}},
		{"notes.mine", false, Verdict{true, "*.mine", filepath.Join(top, ".git/info/exclude"), 1}},
		{".DS_Store", false, Verdict{true, ".DS_Store", global, 1}},
		{"tmp/x", false, Verdict{true, "tmp/", "kdev.yaml", 1}},
		{"important.log", false, Verdict{false, "!important.log", "kdev.yaml", 2}},
		{".git", true, Verdict{true, ".git", "git", 0}},
		// A repository inside has rules of its own, and only the global ones beside.
		{"vendored/own", false, Verdict{true, "own", filepath.Join(root, "vendored/.gitignore"), 1}},
		{"vendored/x.log", false, Verdict{}},
		{"vendored/.DS_Store", false, Verdict{true, ".DS_Store", global, 1}},
	} {
		if got := m.Match(c.path, c.dir); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.want)
		}
	}

	put("svc/.gitignore", "other\n")
	m.Refresh(".")
	if !m.Match("a/keep.log", false).Ignored || !m.Match("other", false).Ignored {
		t.Error("a changed .gitignore is not read again")
	}
	if m.Stale() {
		t.Error("nothing outside of the root has changed")
	}
	put(".gitignore", "# nothing is ignored any more\n")
	if !m.Stale() || m.Match("dist", true).Ignored {
		t.Error("a .gitignore above the root has changed")
	}
}

func TestGitInAWorktreeAndOutside(t *testing.T) {
	isolateGit(t)
	dir := t.TempDir()
	main, tree := filepath.Join(dir, "main"), filepath.Join(dir, "tree")
	git(t, dir, nil, "init", "-q", main)
	git(t, main, nil, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "first")
	git(t, main, nil, "worktree", "add", "-q", tree)
	if err := os.WriteFile(filepath.Join(main, ".git/info/exclude"), []byte("shared\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Git(tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := m.Repository()
	if r.Dir != filepath.Join(main, ".git/worktrees/tree") || r.Common != filepath.Join(main, ".git") || r.Top != tree {
		t.Errorf("%+v", r)
	}
	if !m.Match("shared", false).Ignored {
		t.Error("info/exclude is shared by all worktrees")
	}

	plain := t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, ".gitignore"), []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if m, err = Git(plain, nil); err != nil {
		t.Fatal(err)
	}
	if !m.Match("a/x", false).Ignored || m.Repository().Dir != "" {
		t.Error("outside of a repository its .gitignore holds all the same")
	}
}

func FuzzWildmatch(f *testing.F) {
	for _, p := range []string{"**/a*[!b]", "[[:alpha:]-z]", `\`, "[", "a/**/b", "[a-", "[[:x:]]", "***/"} {
		f.Add(p, "a/b/c.txt")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 40 || len(text) > 60 {
			return // git's algorithm is exponential in the number of stars too
		}
		for i := range 4 {
			wildmatch(pattern, text, i&1 != 0, i&2 != 0)
		}
		set := parseRules(pattern, "f", "")
		set.last(text, text, false, true)
	})
}

// The repository of a root may become another one: git init, a worktree that
// takes the place of a clone.
func TestStaleNoticesAnotherRepository(t *testing.T) {
	isolateGit(t)
	top := t.TempDir()
	root := filepath.Join(top, "svc")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := Git(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Stale() || m.Match("x.log", false).Ignored {
		t.Error("nothing has changed")
	}
	git(t, top, nil, "init", "-q")
	if err := os.WriteFile(filepath.Join(top, ".gitignore"), []byte("*.log\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !m.Stale() || m.Stale() {
		t.Error("stale once, when there is a repository around the root")
	}
	if !m.Match("x.log", false).Ignored || m.Repository().Top != top {
		t.Errorf("the rules of %+v do not hold", m.Repository())
	}
	git(t, root, nil, "init", "-q")
	m.Refresh(".")
	if m.Match("x.log", false).Ignored || m.Repository().Top != root {
		t.Errorf("the root is a repository of its own, not %+v", m.Repository())
	}
}
