package dockerfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestRebase(t *testing.T) {
	const ref = "127.0.0.1:5001/shop/base@sha256:0"
	for name, c := range map[string]struct{ before, after string }{
		"all of it": {
			"# base\nFROM --platform=linux/amd64 base AS build\nRUN echo base\nFROM base:7\nCOPY --from=base \\\n  /a /b\nCOPY --from=build /c /base\n",
			"# base\nFROM --platform=linux/amd64 " + ref + " AS build\nRUN echo base\nFROM base:7\nCOPY --from=" + ref + " \\\n  /a /b\nCOPY --from=build /c /base\n",
		},
		"a stage of the same name": {
			"FROM base AS base\nRUN npm ci\nFROM base\nCOPY --from=base /a /b\n",
			"FROM " + ref + " AS base\nRUN npm ci\nFROM base\nCOPY --from=base /a /b\n",
		},
		"a stage of the same name, of another image": {
			"FROM base AS x\nFROM alpine AS base\nFROM base\nCOPY --from=x /a /b\n",
			"FROM " + ref + " AS x\nFROM alpine AS base\nFROM base\nCOPY --from=x /a /b\n",
		},
		"an argument": {
			"ARG BASE=base\nFROM ${BASE} as x\nFROM $BASE\n",
			"ARG BASE=base\nFROM " + ref + " as x\nFROM " + ref + "\n",
		},
		"mounts, and what only looks like one": {
			"FROM alpine\nRUN --mount=type=bind,from=base,target=/x --mount=type=bind,from=base,src=/y,target=/y \\\n  # of base\n  echo --from=base from=base\n",
			"FROM alpine\nRUN --mount=type=bind,from=" + ref + ",target=/x --mount=type=bind,from=" + ref + ",src=/y,target=/y \\\n  # of base\n  echo --from=base from=base\n",
		},
		"over lines": {
			"FROM \\\n  # which one\n  base\\\n  AS x\nCOPY \\\n  --chown=1 --from=base\\\n  base /base\n",
			"FROM \\\n  # which one\n  " + ref + "\\\n  AS x\nCOPY \\\n  --chown=1 --from=" + ref + "\\\n  base /base\n",
		},
		"a stage that is not needed": {
			"FROM base AS unused\nFROM scratch\nCOPY a /\n",
			"FROM " + ref + " AS unused\nFROM scratch\nCOPY a /\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			after, err := rebase(t, c.before, map[string]string{"base": ref})
			if err != nil || after != c.after {
				t.Errorf("%v; got\n%s\nwant\n%s", err, after, c.after)
			}
		})
	}
	// What cannot be written in another way is refused: somebody else's image
	// of that name would be taken.
	for _, text := range []string{
		"FROM ba\\\nse\n",
		"FROM alpine AS a\nONBUILD COPY --from=base /a /b\nFROM a\n",
	} {
		if after, err := rebase(t, text, map[string]string{"base": ref}); problem.As(err) == nil || problem.As(err).Code != "dockerfile-syntax" {
			t.Errorf("%q became %q, %v", text, after, err)
		}
	}
}

func rebase(t *testing.T, text string, refs map[string]string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(Options{Context: dir, Dockerfile: file})
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.Rebase(refs)
	return string(after), err
}
