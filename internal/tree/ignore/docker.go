package ignore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"

	"github.com/kdev-io/kdev/internal/problem"
)

// A DockerMatcher decides which paths of a build context BuildKit leaves out.
// The walk that it follows is that of fsutil's FilterFS, which sends the
// context; each line is matched by moby's own patternmatcher.
type DockerMatcher struct {
	file string // "" when there is none

	mu    sync.Mutex // patternmatcher compiles on first use
	rules []dockerRule
	dirs  map[string]*dockerDir
	plain bool // no exception holds a wildcard: the walk skips what none can be below
}

type dockerRule struct {
	text      string
	line      int
	exception bool
	prefix    string // of an exception: its path without a trailing glob, with a slash
	matcher   *patternmatcher.PatternMatcher
}

type dockerDir struct {
	verdict Verdict
	matched []bool // by rule: the rule matched this directory or one above
	skipped bool   // the walk does not go into it
}

// Docker reads <dockerfile>.dockerignore, or when there is none .dockerignore in
// contextDir, and returns its matcher. A context without either has a matcher
// that ignores nothing.
func Docker(contextDir, dockerfile string) (*DockerMatcher, error) {
	var candidates []string
	if dockerfile != "" {
		candidates = append(candidates, dockerfile+".dockerignore")
	}
	candidates = append(candidates, filepath.Join(contextDir, ".dockerignore"))
	for _, file := range candidates {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading ignore rules: %w", err)
		}
		return parseDocker(data, file)
	}
	return Nothing(), nil
}

// Nothing is the matcher that ignores nothing.
func Nothing() *DockerMatcher { return &DockerMatcher{dirs: map[string]*dockerDir{}} }

// File is the file that the rules come from, or "".
func (m *DockerMatcher) File() string { return m.file }

// Match decides about path, relative to the context.
func (m *DockerMatcher) Match(p string, isDir bool) Verdict {
	if p == "." || len(m.rules) == 0 {
		return Verdict{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if isDir {
		return m.dir(p).verdict
	}
	return m.decide(p).verdict
}

// MayReinclude reports whether the walk goes on below dir although it is
// ignored, because an exception may match there.
func (m *DockerMatcher) MayReinclude(dir string) bool {
	if dir == "." || len(m.rules) == 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.dir(dir).skipped
}

func (m *DockerMatcher) dir(p string) *dockerDir {
	if d := m.dirs[p]; d != nil {
		return d
	}
	d := m.decide(p)
	if !d.skipped && d.verdict.Ignored && m.plain {
		d.skipped = true
		for _, r := range m.rules {
			if r.exception && strings.HasPrefix(r.prefix, p+"/") {
				d.skipped = false
				break
			}
		}
	}
	m.dirs[p] = d
	return d
}

func (m *DockerMatcher) decide(p string) *dockerDir {
	var above *dockerDir
	if dir := parent(p); dir != "." {
		if above = m.dir(dir); above.skipped {
			return above
		}
	}
	d := &dockerDir{matched: make([]bool, len(m.rules))}
	file := filepath.FromSlash(p)
	for i, r := range m.rules {
		hit := above != nil && above.matched[i]
		if !hit {
			if r.exception != d.verdict.Ignored {
				continue // an exception with nothing to except, or a second exclusion
			}
			hit = r.match(file)
		}
		d.matched[i] = hit
		if hit {
			d.verdict = Verdict{Ignored: !r.exception, Rule: r.text, File: m.file, Line: r.line}
		}
	}
	return d
}

// match asks about this path alone; what holds for the directories above it is
// carried from one to the next, as in fsutil's walk.
func (r *dockerRule) match(file string) bool {
	//lint:ignore SA1019 with parentMatched false it is the one call that does not look at parents by itself
	hit, err := r.matcher.MatchesUsingParentResult(file, false)
	return err == nil && hit
}

// parseDocker reads the format of moby's ignorefile, and keeps line numbers.
func parseDocker(data []byte, file string) (*DockerMatcher, error) {
	m := &DockerMatcher{file: file, dirs: map[string]*dockerDir{}, plain: true}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for n, raw := range strings.Split(string(data), "\n") {
		line := strings.TrimSuffix(raw, "\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		pattern := strings.TrimSpace(line)
		if pattern == "" {
			continue
		}
		r := dockerRule{text: pattern, line: n + 1}
		if pattern[0] == '!' {
			r.exception = true
			pattern = strings.TrimSpace(pattern[1:])
		}
		if pattern != "" {
			pattern = filepath.ToSlash(filepath.Clean(pattern))
			if len(pattern) > 1 && pattern[0] == '/' {
				pattern = pattern[1:]
			}
		}
		if err := r.compile(pattern); err != nil {
			return nil, &problem.Problem{
				Class:   problem.Usage,
				Code:    "dockerignore-syntax",
				Summary: fmt.Sprintf("the pattern %q cannot be used", r.text),
				Where:   fmt.Sprintf("%s:%d", file, r.line),
				Hint:    "see https://docs.docker.com/build/concepts/context/#syntax for the syntax",
				Err:     err,
			}
		}
		if r.exception && strings.ContainsAny(strings.TrimSuffix(r.prefix, "/"), wildcards()) {
			m.plain = false
		}
		m.rules = append(m.rules, r)
	}
	return m, nil
}

// compile follows what patternmatcher.New does with a line that ignorefile has
// read: it cleans "!" and pattern once more as one, and takes any pattern that
// then begins with "!" for an exception.
func (r *dockerRule) compile(pattern string) error {
	if r.exception {
		pattern = "!" + pattern
	}
	pattern = filepath.ToSlash(filepath.Clean(strings.TrimSpace(pattern)))
	if pattern[0] == '!' {
		if pattern == "!" {
			return errors.New("an exception without a pattern")
		}
		r.exception, pattern = true, pattern[1:]
	}
	alone := pattern
	if alone[0] == '!' {
		alone = "[!]" + alone[1:] // "!!x" excepts a file that is called "!x"
	}
	single, err := patternmatcher.New([]string{alone})
	if err != nil {
		return err
	}
	r.matcher = single
	slash := string(filepath.Separator)
	p := strings.TrimSuffix(filepath.FromSlash(pattern), slash+"**")
	r.prefix = filepath.ToSlash(strings.TrimSuffix(p, slash+"*")) + "/"
	return nil
}

// wildcards are the characters that fsutil takes for a glob in an exception.
func wildcards() string {
	if filepath.Separator == '\\' {
		return "*[]?^"
	}
	return `*[]?^\`
}
