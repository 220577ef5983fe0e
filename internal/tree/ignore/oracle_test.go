package ignore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Both oracles are asked about generated cases: a small tree in which names
// repeat at several depths, and rules made of those names and of everything the
// formats know. A case is named by its seed.

const cases = 400

// TestGitOracle compares each verdict, with file, line and rule, with
// `git check-ignore --no-index -v`.
func TestGitOracle(t *testing.T) {
	isolateGit(t)
	compared, ignored := 0, 0
	root := t.TempDir()
	for seed := range uint64(cases) {
		r := rand.New(rand.NewPCG(seed, 3))
		dir := filepath.Join(root, fmt.Sprint(seed))
		c := makeCase(t, r, dir)
		git(t, dir, nil, "init", "-q")
		c.rules(t, r, ".gitignore", gitLine)
		for _, d := range c.dirs {
			if r.IntN(3) == 0 {
				c.rules(t, r, d+"/.gitignore", gitLine)
			}
		}
		if r.IntN(3) == 0 {
			c.rules(t, r, ".git/info/exclude", gitLine)
		}
		if r.IntN(8) == 0 {
			git(t, dir, nil, "config", "core.ignorecase", "true")
		}
		m, err := Git(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range checkIgnore(t, dir, c.paths()) {
			got := m.Match(path, c.isDir[path])
			compared++
			if got.Ignored {
				ignored++
			}
			file := strings.TrimPrefix(filepath.ToSlash(got.File), filepath.ToSlash(dir)+"/")
			if said := fmt.Sprintf("%s:%d:%s", file, got.Line, got.Rule); got.Line == 0 && want != "::" || got.Line > 0 && said != want {
				t.Errorf("seed %d, %s (directory: %v): git says %s, we say %s", seed, path, c.isDir[path], want, said)
			}
		}
		if t.Failed() {
			t.Fatalf("the case is in %s\n%s", dir, c.text)
		}
	}
	t.Logf("%d cases, %d decisions, %d ignored", cases, compared, ignored)
	if ignored < compared/10 || ignored > compared*9/10 {
		t.Errorf("%d of %d ignored: the cases say little", ignored, compared)
	}
}

// checkIgnore returns git's "file:line:rule" for each path, "::" for none.
func checkIgnore(t *testing.T, dir string, paths []string) map[string]string {
	t.Helper()
	out := git(t, dir, []byte(strings.Join(paths, "\x00")), "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin")
	fields := strings.Split(string(out), "\x00")
	verdicts := map[string]string{}
	for ; len(fields) > 4; fields = fields[4:] {
		verdicts[fields[3]] = fields[0] + ":" + fields[1] + ":" + fields[2]
	}
	if len(verdicts) != len(paths) {
		t.Fatalf("git answered for %d of %d paths", len(verdicts), len(paths))
	}
	return verdicts
}

func git(t *testing.T, dir string, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok && e.ExitCode() == 1 && args[0] == "check-ignore" {
		err = nil // none is ignored
	}
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

// isolateGit keeps the settings of whoever runs the tests out of them.
func isolateGit(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "xdg"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, "gitconfig"))
	for _, v := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} {
		t.Setenv(v, "")
		os.Unsetenv(v)
	}
}

type oracleCase struct {
	root  string
	dirs  []string
	isDir map[string]bool
	text  string // all rules, for the message of a failure
}

var names = []string{"a", "LOG", "b", "foo", "bar", "build", "src", "x.log", "foo.txt", "Foo", "a b", "[x]", "ab", "foo.log", "#c", "!d", "baz.tmp", "é", "a-b", "tail "}

func makeCase(t *testing.T, r *rand.Rand, root string) *oracleCase {
	t.Helper()
	c := &oracleCase{root: root, isDir: map[string]bool{}}
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	c.dirs = []string{}
	for range 6 + r.IntN(8) {
		at := ""
		for depth := r.IntN(4); depth >= 0; depth-- {
			at = strings.TrimPrefix(at+"/"+pick(r, names), "/")
			if isDir, there := c.isDir[at]; there && !isDir {
				break
			}
			if depth == 0 && r.IntN(3) > 0 && !c.isDir[at] {
				c.isDir[at] = false
				if err := os.WriteFile(filepath.Join(root, at), []byte(at), 0o644); err != nil {
					t.Fatal(err)
				}
				break
			}
			if !c.isDir[at] {
				c.dirs = append(c.dirs, at)
				c.isDir[at] = true
				if err := os.MkdirAll(filepath.Join(root, at), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return c
}

func (c *oracleCase) paths() []string {
	var out []string
	for p := range c.isDir {
		out = append(out, p)
	}
	return out
}

func (c *oracleCase) rules(t *testing.T, r *rand.Rand, file string, line func(*rand.Rand, *oracleCase) string) {
	t.Helper()
	var b strings.Builder
	if r.IntN(12) == 0 {
		b.WriteString("\ufeff")
	}
	for range 1 + r.IntN(6) {
		b.WriteString(line(r, c))
		if r.IntN(12) == 0 {
			b.WriteString("\r")
		}
		b.WriteString("\n")
	}
	c.text += "--- " + file + "\n" + b.String()
	if err := os.WriteFile(filepath.Join(c.root, file), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gitLine(r *rand.Rand, c *oracleCase) string {
	p := mutate(r, somePath(r, c))
	switch r.IntN(12) {
	case 0:
		return "# " + p
	case 1:
		return ""
	case 2:
		p = pick(r, []string{"*", "**", "/*", "/**", "**/", "*/", "/", "!", "\\", "[", "foo\\", "a/**/b", "**/foo/**", "foo**/bar", "a**", "***", "[!a]*", "[^a]*", "[a-f]*", "[[:alpha:]]*", "[]a]*", "[a-]*", "*.[lt]*", "\\#c", "\\!d", "tail\\ ", "[[:bogus:]]", "[\\]x]", "?", "??", "fo?", "*/foo", "a/*", "a/*/b", "**/a*/**", "[[x]]", "\\[x\\]", "*[[:upper:]]*", "src/**/x.log", "[A-M]*", "[Ff]oo", "\\Foo", "[[:lower:]]oo"})
	}
	if r.IntN(3) == 0 {
		p += "/"
	}
	if r.IntN(4) == 0 {
		p = "/" + p
	}
	if r.IntN(3) == 0 {
		p = "!" + p
	}
	if r.IntN(10) == 0 {
		p += strings.Repeat(" ", 1+r.IntN(2))
	}
	return p
}

func somePath(r *rand.Rand, c *oracleCase) string {
	paths := c.paths()
	if len(paths) == 0 || r.IntN(3) == 0 {
		return pick(r, names)
	}
	// Map order is not the seed's: choose by a stable rule.
	best := ""
	for range 3 {
		n := pick(r, names)
		for _, p := range paths {
			if strings.Contains(p, n) && (best == "" || p < best) {
				best = p
			}
		}
	}
	if best == "" {
		return pick(r, names)
	}
	parts := strings.Split(best, "/")
	from := r.IntN(len(parts))
	return strings.Join(parts[from:from+1+r.IntN(len(parts)-from)], "/")
}

func mutate(r *rand.Rand, p string) string {
	parts := strings.Split(p, "/")
	i := r.IntN(len(parts))
	part := []rune(parts[i])
	switch r.IntN(8) {
	case 0:
		parts[i] = "*"
	case 1:
		parts[i] = "**"
	case 2:
		parts[i] = "*" + string(part[len(part)/2:])
	case 3:
		parts[i] = string(part[:(len(part)+1)/2]) + "*"
	case 4:
		parts[i] = "?" + string(part[1:])
	case 5:
		parts[i] = "[" + string(part[:1]) + "z]" + string(part[1:])
	}
	return strings.Join(parts, "/")
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }
