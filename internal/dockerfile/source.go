package dockerfile

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
)

// A source is one thing that COPY, ADD or a bind mount takes: a path or a
// pattern below the root of a context or of a stage.
type source struct {
	parts   []string // of the clean path; none: the root itself
	pivot   int      // COPY --parents: components that are left out of the destination
	parents *patternmatcher.PatternMatcher
	named   []string // parts before a symbolic link was followed
}

func newSource(text string, parents bool) source {
	text = filepath.ToSlash(text)
	var s source
	if parents {
		before, _, found := strings.Cut(text, "/./")
		if found {
			s.pivot = len(components(before))
		}
	}
	s.parts = components(text)
	if parents {
		// An invalid pattern matches nothing here and fails the build there.
		s.parents, _ = patternmatcher.New([]string{strings.Join(s.parts, "/")})
	}
	return s
}

func components(p string) []string {
	p = strings.Trim(path.Clean("/"+p), "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

func (s source) path() string {
	if len(s.parts) == 0 {
		return "."
	}
	return strings.Join(s.parts, "/")
}

func (s source) display() string {
	if s.named != nil {
		return strings.Join(s.named, "/")
	}
	return s.path()
}

func (s source) glob() bool {
	return s.parents != nil || strings.ContainsAny(s.path(), `*?[\`)
}

// follow resolves symbolic links of a plain path: the builder copies what a
// named source points to.
func (s source) follow(context string) source {
	if s.glob() || len(s.parts) == 0 {
		return s
	}
	root, err := filepath.EvalSymlinks(context)
	if err != nil {
		return s
	}
	real, err := filepath.EvalSymlinks(filepath.Join(root, filepath.FromSlash(s.path())))
	if err != nil {
		return s
	}
	rel, err := filepath.Rel(root, real)
	if err != nil || !filepath.IsLocal(rel) {
		return s
	}
	if to := components(filepath.ToSlash(rel)); strings.Join(to, "/") != strings.Join(s.parts, "/") {
		s.named, s.parts = s.parts, to
	}
	return s
}

// match says whether the source takes p (clean, relative to the root), and what
// of p remains below the thing that was named: nothing when p is that thing.
func (s source) match(p string) (rest string, ok bool) {
	if s.parents != nil {
		hit, err := s.parents.MatchesOrParentMatches(p)
		return "", err == nil && hit
	}
	if len(s.parts) == 0 {
		if p == "." {
			return "", true
		}
		return p, true
	}
	for i, want := range s.parts {
		part, after, more := strings.Cut(p, "/")
		if part != want {
			if hit, err := path.Match(want, part); err != nil || !hit {
				return "", false
			}
		}
		if i == len(s.parts)-1 {
			return after, true
		}
		if !more {
			return "", false
		}
		p = after
	}
	return "", false
}

// above says whether something below directory dir may match.
func (s source) above(dir string) bool {
	if s.parents != nil {
		return true
	}
	parts := components(dir)
	for i, part := range parts {
		if i == len(s.parts) {
			return true // dir is below what is named
		}
		if hit, err := path.Match(s.parts[i], part); part != s.parts[i] && (err != nil || !hit) {
			return false
		}
	}
	return true
}

// isLink says whether p is the link that a source names.
func (s source) isLink(p string) bool {
	return s.named != nil && strings.Join(s.named, "/") == p
}

// isRemote says whether ADD fetches src from somewhere.
func isRemote(src string) bool {
	if strings.HasPrefix(src, "git@") {
		return true
	}
	u, err := url.Parse(src)
	return err == nil && u.Scheme != "" && u.Host != ""
}

func isDir(context, p string) bool {
	info, err := os.Stat(filepath.Join(context, filepath.FromSlash(p)))
	return err == nil && info.IsDir()
}
