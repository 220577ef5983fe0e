package watch

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	gitIn(t, root, "init", "-q")
	put(t, root, ".gitignore", "node_modules\n/dist/\n*.log\n/out/*\n!/out/keep\n")
	put(t, root, "web/.gitignore", "build\n")
	put(t, root, ".dockerignore", "k8s\nnotes.md\nlogs\n!logs/keep\nDockerfile\n")
	put(t, root, "Dockerfile", "FROM scratch\n")
	o := Options{
		Root:     root,
		Ignore:   []string{"tmp/", "!tmp/x"},
		Include:  []string{"dist", "web", "out", ".", "api/*/gen", "k8s"},
		Contexts: []Context{{Dir: root, Dockerfile: filepath.Join(root, "Dockerfile")}},
	}
	for _, c := range []struct {
		path    string
		dir     bool
		watched bool
		by      string
		rule    string
	}{
		{"main.go", false, true, "default", ""},
		{"node_modules/x/y.js", false, false, "git", "node_modules"},
		{"dist/app.js", false, true, "named", "/dist/"},
		{"dist/node_modules/x", false, false, "git", "node_modules"},
		{"dist/x.log", false, false, "git", "*.log"},
		{"out/app.js", false, true, "named", "/out/*"}, // "everything in it" is lifted
		{"out/keep", false, true, "git", "!/out/keep"},
		{"web/node_modules", true, false, "git", "node_modules"}, // `COPY web /app` brings it not back
		{"web/build", true, false, "git", "build"},
		{"tmp/a", false, false, "kdev.yaml", "tmp/"},
		{".git/HEAD", false, false, "built-in", ".git"},
		{"src/.main.go.swp", false, false, "built-in", ".main.go.swp"},
		{"src/4913", false, false, "built-in", "4913"},
		{"notes.md", false, false, "docker", "notes.md"},
		{"logs", true, true, "docker", "logs"}, // a negation can match below
		{"logs/other", false, false, "docker", "logs"},
		{"logs/keep", false, true, "default", ""},
		{"Dockerfile", false, true, "default", ""}, // it decides how the context is built
		{"k8s/base/app.yaml", false, true, "named", "k8s"},
	} {
		v, err := Explain(o, c.path, c.dir)
		if err != nil {
			t.Fatal(err)
		}
		if v.Watched != c.watched || v.By != c.by || v.Rule != c.rule {
			t.Errorf("%s: %+v, want watched %v by %s %q", c.path, v, c.watched, c.by, c.rule)
		}
		if v.By == "git" && (v.File == "" || v.Line == 0) {
			t.Errorf("%s: no file and line: %+v", c.path, v)
		}
	}
}

// What lies behind a link is not looked at, whatever the rules say.
func TestExplainBehindALink(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	put(t, root, "dir/sub/f", "")
	if err := os.Symlink("dir", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]Verdict{
		"dir/sub/f":    {Path: "dir/sub/f", Watched: true, By: "default"},
		"link":         {Path: "link", Watched: true, By: "default"},
		"link/sub/f":   {Path: "link/sub/f", By: "link", Rule: "link"},
		"link/none":    {Path: "link/none", By: "link", Rule: "link"},
		"link/.git/ho": {Path: "link/.git/ho", By: "built-in", Rule: ".git"},
	} {
		if v, err := Explain(Options{Root: root}, p, false); v != want || err != nil {
			t.Errorf("%s: %+v, %v", p, v, err)
		}
	}
}

// A named path below an ignored directory is reached through directories that
// are ignored themselves.
func TestNamedBelowIgnored(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	put(t, root, ".gitignore", "build\n")
	put(t, root, "build/other/x", "")
	s := watch(t, Options{Root: root, Include: []string{"build/web/dist"}})
	s.write("build/web/dist/app.js", "1")
	s.write("build/web/src/no", "")
	s.write("build/other/x", "no")
	want := map[string]Op{"build/web": Create, "build/web/dist": Create, "build/web/dist/app.js": Create}
	if got := s.ops("create"); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRulesThatChange(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	gitIn(t, root, "init", "-q")
	put(t, root, "a/gen/x", "1")
	put(t, root, "a/src", "1")
	s := watch(t, Options{Root: root})

	s.write("a/.gitignore", "gen\n")
	got := s.opsUnless("a/gen", "gen is ignored now")
	if !maps.Equal(got, map[string]Op{"a/.gitignore": Create}) {
		t.Errorf("what is ignored from now on is not removed: %v", got)
	}
	s.write("a/gen/x", "2")
	s.write("a/.gitignore", "# nothing\n")
	s.eventually("gen is watched again", func() bool { return s.x.Settled("a/gen/x") })
	got = s.ops("gen counts again")
	if !maps.Equal(got, map[string]Op{"a/.gitignore": Write, "a/gen": Create, "a/gen/x": Create}) {
		t.Errorf("%v", got)
	}
	s.write("a/gen/x", "3")
	s.equal("it is watched again")

	// Rules outside of the tree are looked at once a second.
	s.do(os.WriteFile(s.abs(".git/info/exclude"), []byte("*.gen\nx\n"), 0o644))
	s.opsUnless("a/gen/x", "info/exclude was read again")
}

// opsUnless is ops, with what lies at or below gone out of the copy first: it is
// ignored, which nobody is told.
func (s *subject) opsUnless(gone, format string, args ...any) map[string]Op {
	s.t.Helper()
	s.eventually(gone+" is not watched any more", func() bool { return !s.x.Settled(gone) })
	s.mu.Lock()
	for p := range s.copy {
		if p == gone || strings.HasPrefix(p, gone+"/") {
			delete(s.copy, p)
		}
	}
	s.mu.Unlock()
	return s.ops(format, args...)
}
