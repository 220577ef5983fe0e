package deploy

import "regexp"

// Secrets as programs print them: in URLs, after well-known words, as tokens of a
// well-known form. What is shown of a log is a few lines for a person; a mask too
// many is better than a password in a terminal that is shared.
var secrets = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@]*):[^\s@]+@`), "$1:***@"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9+/_.=-]{8,}`), "$1 ***"},
	{regexp.MustCompile(`(?i)\b([a-z0-9_.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credential)[a-z0-9_.-]*)("?\s*[=:]\s*"?)[^\s"',;&]+`), "$1$2***"},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), "***"},
	{regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,})`), "***"},
}

// mask hides what looks like a secret.
func mask(line string) string {
	for _, s := range secrets {
		line = s.form.ReplaceAllString(line, s.with)
	}
	return line
}
