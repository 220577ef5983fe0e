package config

import (
	"strings"

	"github.com/moby/patternmatcher"
)

// Matches says whether a file, relative to the build context with slashes, is
// one that the rule is for. A pattern without a slash matches the name in
// every folder, one that names a folder matches all that is in it, and **
// stands for any number of folders.
func (o OnSync) Matches(path string) bool {
	if len(o.Paths) == 0 {
		return true
	}
	m, err := onSyncMatcher(o.Paths)
	if err != nil {
		return false // Load has refused such a pattern
	}
	ok, err := m.MatchesOrParentMatches(path)
	return ok && err == nil
}

func onSyncMatcher(patterns []string) (*patternmatcher.PatternMatcher, error) {
	ps := make([]string, 0, len(patterns))
	for _, p := range patterns {
		not := ""
		if strings.HasPrefix(p, "!") {
			not, p = "!", p[1:]
		}
		p = strings.TrimPrefix(p, "./")
		if !strings.Contains(strings.TrimSuffix(p, "/"), "/") {
			p = "**/" + p
		}
		ps = append(ps, not+strings.Trim(p, "/"))
	}
	return patternmatcher.New(ps)
}
