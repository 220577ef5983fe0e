package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// What a build printed stands above its failure once, not in the block below it again.
func TestABuildsOutputIsPrintedOnce(t *testing.T) {
	failure := session.Notice{Level: session.Fail, Service: "web", Code: "build-failed", Text: "build failed",
		Problem: &problem.Problem{Code: "build-failed", Summary: "RUN make failed", Output: "one\ntwo\n", Hint: "see above"}}
	line := func(service, text string) session.Notice {
		return session.Notice{Level: session.Info, Service: service, Code: "build-output", Text: text}
	}
	for name, c := range map[string]struct {
		before []session.Notice
		count  int
	}{
		"streamed":            {[]session.Notice{line("web", "zero"), line("web", "one"), line("api", "x"), line("web", "two")}, 1},
		"not shown":           {nil, 1},
		"of another service":  {[]session.Notice{line("api", "one"), line("api", "two")}, 2},
		"of the build before": {[]session.Notice{line("web", "one"), line("web", "two"), {Level: session.Done, Service: "web", Code: "build-done"}}, 2},
		"between other lines": {[]session.Notice{line("web", "one"), line("web", "x"), line("web", "two")}, 2},
		"a part of a line":    {[]session.Notice{line("web", "someone"), line("web", "two")}, 2},
	} {
		var out bytes.Buffer
		f := &plain{out: &out, width: 4}
		for _, n := range append(c.before, failure) {
			f.notice(n)
		}
		if text := out.String(); strings.Count(text, "two") != c.count || !strings.Contains(text, "hint: see above") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
