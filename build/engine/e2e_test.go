//go:build e2e

package engine

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
)

func setup(t *testing.T, dockerfile string) (*Builder, Request) {
	t.Helper()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	root := t.TempDir()
	for name, content := range map[string]string{"Dockerfile": dockerfile, "a.txt": "a\n", "skipped": "x", ".dockerignore": "skipped\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := New(docker)
	req := Request{Root: root, Context: root, Dockerfile: filepath.Join(root, "Dockerfile"), Platform: "linux/amd64", Tag: "kdev.test/" + strings.ToLower(rand.Text()) + ":x"}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := b.Untag(context.Background(), req.Tag); err != nil {
			t.Error(err)
		}
	})
	return b, req
}

// What the engine's own frontend is too old for, ours puts into its terms.
const modern = `# syntax=docker/dockerfile:1.7
ARG WHO=nobody
FROM debian:bookworm-slim AS base
ARG WHO
RUN <<EOT
set -e
echo "hello $WHO"
EOT
COPY <<EOT /etc/conf
hi
EOT
RUN --mount=type=cache,target=/cache --mount=type=bind,target=/src test ! -e /src/skipped && cat /src/a.txt /etc/conf
COPY --link --chmod=751 --chown=1000:1000 a.txt /l/
RUN test "$(stat -c '%a %u' /l/a.txt)" = '751 1000'
FROM base AS other
RUN exit 1
`

func TestModern(t *testing.T) {
	b, req := setup(t, modern)
	req.Target = "base"
	who := rand.Text() // so that nothing comes from the engine's cache
	req.Args = map[string]string{"WHO": who}
	var lines []string
	done := 0
	how, err := b.Build(t.Context(), req, func(e Event) {
		if e.Line != "" {
			lines = append(lines, e.Line)
		}
		if e.Done {
			done++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(how)
	if got := strings.Join(lines, "\n"); !strings.Contains(got, "hello "+who) || !strings.Contains(got, "a\nhi") {
		t.Errorf("output %q", got)
	}
	if done < 6 {
		t.Errorf("%d steps ended", done)
	}
}

func TestClassic(t *testing.T) {
	b, req := setup(t, "FROM debian:bookworm-slim\nARG WHO\nCOPY . /x/\nRUN echo hello $WHO; ls -A /x\n")
	who := rand.Text() // so that nothing comes from the engine's cache
	req.Args = map[string]string{"WHO": who}
	var lines []string
	if err := b.classic(t.Context(), req, func(e Event) { lines = append(lines, e.Line) }); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(lines, "\n")
	if !strings.Contains(got, "hello "+who) || !strings.Contains(got, "a.txt") || strings.Contains(got, "skipped") {
		t.Errorf("output %q", got)
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct{ name, dockerfile, where, output, says string }{
		{"run", "FROM debian:bookworm-slim\n\nRUN echo the reason; \\\n  exit 7\n", "Dockerfile:3", "the reason", "code: 7"},
		{"copy", "FROM debian:bookworm-slim\nCOPY nothere /x\n", "Dockerfile:2", "", "nothere"},
		{"instruction", "FROM debian:bookworm-slim\nCOPPY a /x\n", "Dockerfile:2", "", "COPPY"},
		{"base", "# comment\nFROM debian:bookworm-slim\nFROM 127.0.0.1:9/no/such:1 AS x\nRUN true\n", "Dockerfile:3", "", "127.0.0.1:9/no/such:1"},
		{"twice", "FROM debian:bookworm-slim AS a\nRUN true\nFROM a\nRUN false || true\nRUN false\nFROM a\nRUN false\n", "Dockerfile:7", "", "code: 1"},
	} {
		for _, classic := range []bool{false, true} {
			if classic && c.name == "twice" {
				continue // the classic builder runs every stage: another one fails first
			}
			t.Run(c.name, func(t *testing.T) {
				b, req := setup(t, c.dockerfile)
				var err error
				if classic {
					err = b.classic(t.Context(), req, nil)
				} else {
					_, err = b.Build(t.Context(), req, nil)
				}
				p := problem.As(err)
				if p == nil {
					t.Fatalf("%v is no problem", err)
				}
				if p.Code != "build-failed" || p.Where != c.where || !strings.Contains(p.Output, c.output) || !strings.Contains(p.Error()+p.Output, c.says) {
					t.Errorf("classic %v: %s\n%+v", classic, p, *p)
				}
			})
		}
	}
}
