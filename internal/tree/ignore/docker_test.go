package ignore

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"

	"github.com/kdev-io/kdev/internal/problem"
)

// TestFsutilOracle compares with the walk that sends build contexts, run in
// this process; docker_e2e_test.go asks the engine itself.
func TestFsutilOracle(t *testing.T) {
	sent, left := 0, 0
	for seed := range uint64(cases) {
		r := rand.New(rand.NewPCG(seed, 5))
		dir := t.TempDir()
		c := makeDockerCase(t, r, dir)
		m, err := Docker(dir, "")
		patterns := readPatterns(t, filepath.Join(dir, ".dockerignore"))
		if _, wantErr := patternmatcher.New(patterns); (err != nil) != (wantErr != nil) {
			t.Fatalf("seed %d: moby says %v, we say %v\n%s", seed, wantErr, err, c.text)
		}
		if err != nil {
			continue
		}
		want := map[string]bool{}
		err = fsutil.Walk(context.Background(), dir, &fsutil.FilterOpt{ExcludePatterns: patterns}, func(p string, _ fs.FileInfo, err error) error {
			want[filepath.ToSlash(p)] = true
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		got := dockerContext(m, c)
		for p := range c.isDir {
			if want[p] {
				sent++
			} else {
				left++
			}
			if got[p] != want[p] {
				t.Errorf("seed %d, %s: sent by fsutil: %v, by us: %v (%+v)", seed, p, want[p], got[p], m.Match(p, c.isDir[p]))
			}
		}
		if t.Failed() {
			t.Fatal(c.text)
		}
	}
	t.Logf("%d cases, %d paths sent, %d left out", cases, sent, left)
	if left < sent/10 || sent < left/10 {
		t.Error("the cases say little")
	}
}

func makeDockerCase(t *testing.T, r *rand.Rand, dir string) *oracleCase {
	t.Helper()
	c := makeCase(t, r, dir)
	c.rules(t, r, ".dockerignore", dockerLine)
	c.isDir[".dockerignore"] = false
	return c
}

// dockerContext returns what is sent of the case: what is not ignored, and the
// directories above it.
func dockerContext(m *DockerMatcher, c *oracleCase) map[string]bool {
	got := map[string]bool{}
	for p, isDir := range c.isDir {
		if m.Match(p, isDir).Ignored {
			continue
		}
		for ; p != "."; p = parent(p) {
			got[p] = true
		}
	}
	return got
}

func readPatterns(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return patterns
}

func dockerLine(r *rand.Rand, c *oracleCase) string {
	p := mutate(r, somePath(r, c))
	switch r.IntN(12) {
	case 0:
		return "# " + p
	case 1:
		return ""
	case 2:
		p = pick(r, []string{"*", "**", "/*", "**/*", "*/*", ".", "./a", "a/..", "a/../b", "**/foo", "**/foo/**", "foo/**", "**/*.log", "*.log", "a*", "[a-f]*", "[^a]*", "?oo", "a/*", "a/**/b", "foo**", "**o", "./!d", "!d", "/!d", "é", "a b", ".dockerignore", "src/*/x.log", "a+b", "(a)", "\\#c", "foo/", "/"})
	}
	if r.IntN(6) == 0 {
		p += "/"
	}
	if r.IntN(5) == 0 {
		p = "/" + p
	}
	if r.IntN(2) == 0 {
		p = "!" + p
	}
	if r.IntN(10) == 0 {
		p = " " + p + " "
	}
	return p
}

func TestDockerVerdictNamesTheLine(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	general := put(".dockerignore", "# comment\n\nnode_modules\n*.md\n!README.md\nlogs\n!logs/keep\n")
	m, err := Docker(dir, filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		dir  bool
		want Verdict
	}{
		{"main.go", false, Verdict{}},
		{"node_modules", true, Verdict{true, "node_modules", general, 3}},
		{"node_modules/a/b.js", false, Verdict{true, "node_modules", general, 3}},
		{"NOTES.md", false, Verdict{true, "*.md", general, 4}},
		{"README.md", false, Verdict{false, "!README.md", general, 5}},
		{"logs/other", false, Verdict{true, "logs", general, 6}},
		{"logs/keep", false, Verdict{false, "!logs/keep", general, 7}},
	} {
		if got := m.Match(c.path, c.dir); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.want)
		}
	}
	if m.MayReinclude("node_modules") || !m.MayReinclude("logs") {
		t.Error("an exception matches below logs, none below node_modules")
	}

	own := put("Dockerfile.dockerignore", "main.go\n")
	if m, err = Docker(dir, filepath.Join(dir, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	if m.File() != own || m.Match("node_modules", true).Ignored || !m.Match("main.go", false).Ignored {
		t.Error("<Dockerfile>.dockerignore stands in for .dockerignore")
	}

	put("Dockerfile.dockerignore", "a\nb[\n")
	_, err = Docker(dir, filepath.Join(dir, "Dockerfile"))
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code != "dockerignore-syntax" || !strings.HasSuffix(p.Where, "Dockerfile.dockerignore:2") {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestParseDockerReadsTheLinesThatIgnorefileReads(t *testing.T) {
	text := "\ufeff# c\n a \n!  b/../c\r\n/\n/x/y\n\n!\\#d\n**/z/"
	want, err := ignorefile.ReadAll(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseDocker([]byte(text), "f")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range m.rules {
		p := r.matcher.Patterns()[0].String()
		if r.exception {
			p = "!" + p
		}
		got = append(got, p)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
