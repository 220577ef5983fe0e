// Package ignore decides which paths git and Docker leave out, by their own
// rules: nested .gitignore files, .git/info/exclude and the global excludes
// (gitignore(5)); .dockerignore and <Dockerfile>.dockerignore.
//
// In: a directory, and slash-separated paths relative to it.
// Out: a verdict that names the rule, file and line which decided.
// It never lists a tree and never opens a file other than those with rules.
//
// Invariant: for a path that git does not track the verdict is that of
// `git check-ignore --no-index -v`, and for a build context that of the files
// which `docker build` sends; tests compare both.
package ignore

// A Verdict is the decision about one path.
type Verdict struct {
	Ignored bool
	Rule    string // the line as it stands in File; empty when no rule matched
	File    string // absolute, or "kdev.yaml" for extra rules
	Line    int    // 1-based
}

// A Matcher decides about paths. It is safe for concurrent use.
type Matcher interface {
	Match(path string, isDir bool) Verdict
}
