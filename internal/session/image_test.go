package session

import (
	"slices"
	"testing"

	"github.com/kdev-io/kdev/build"
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
