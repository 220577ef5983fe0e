package session

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/problem"
)

func TestDiffering(t *testing.T) {
	in := func(path string, content rune) build.Input {
		return build.Input{Path: path, Mode: 0o644, Digest: string(content)}
	}
	tests := map[string]struct {
		old, new []build.Input
		want     []string
	}{
		"equal":   {[]build.Input{in("a", 1), in("b", 2)}, []build.Input{in("b", 2), in("a", 1)}, nil},
		"changed": {[]build.Input{in("a", 1)}, []build.Input{in("a", 2)}, []string{"a"}},
		"added":   {nil, []build.Input{in("a", 1)}, []string{"a"}},
		"removed": {[]build.Input{in("b", 1), in("a", 1)}, nil, []string{"a", "b"}},
		"mode":    {[]build.Input{{Path: "a", Mode: 0o644}}, []build.Input{{Path: "a", Mode: 0o755}}, []string{"a"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := differing(test.old, test.new); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// An image that was made from another one of the project, which its recipe no
// longer begins with, is another image.
func TestAParentThatIsNoneAnyMore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, []byte("FROM base\nCOPY . /app\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	recipe, err := build.Load(build.Spec{Context: dir, Dockerfile: file})
	if err != nil {
		t.Fatal(err)
	}
	own, above := build.Input{Path: "a", Digest: "1"}, build.Input{Path: "FROM base", Digest: "2"}
	with := &build.Record{Inputs: []build.Input{above, own}}
	plan := &mapping{plan: recipe, dir: dir}
	for _, compiles := range []bool{false, true} {
		if c := compared(plan, with, []build.Input{own}, "image", compiles); c.keep != "" || c.why == "" {
			t.Errorf("kept: %+v", c)
		}
	}
	if c := compared(plan, &build.Record{Inputs: []build.Input{own}}, []build.Input{own}, "image", false); c.keep != "image" {
		t.Errorf("not kept: %+v", c)
	}
}

// What was broken and put back has not failed: the image that runs is kept.
func TestAKeptImageHasNoProblem(t *testing.T) {
	for _, unread := range []bool{false, true} { // a recipe that cannot be read is a problem still
		svc := &service{unread: unread, plan: &mapping{}, deciding: true, ahead: map[string]bool{}, problem: &problem.Problem{Code: "build-failed"}}
		l := &loop{s: &Session{opts: Options{NoSync: true}}, byName: map[string]*service{"web": svc}}
		decided{"web", choice{keep: "image", record: &build.Record{}}, nil}.apply(l)
		if (svc.problem != nil) != unread {
			t.Errorf("unread %v: %+v", unread, svc.problem)
		}
	}
}
