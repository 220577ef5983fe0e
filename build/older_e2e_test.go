//go:build e2e

package build

import (
	"crypto/rand"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/build/upstream"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// TestOlderEngine builds what an engine of some years ago does wrong without a
// word, so the trees are those that today's reference describes. "." after the
// mode is a folder. A newer engine gives the same ones.
func TestOlderEngine(t *testing.T) {
	b := newBench(t)
	d := &dockerBuilder{engine.New(b.docker), b.store, b.ep}
	const open, all = "top.txt 644|b 755 .|b/1.txt 600", "ex 755 .|ex/r.md 644|ex/top.txt 644|ex/b 755 .|ex/b/1.txt 600|ex/c 755 .|ex/c/x.txt 755"
	const assembled = "assembled"
	for i, c := range []struct {
		name, lines, below, want, rung string
	}{
		{"exclude and letters, run last", "COPY --exclude=r.md --exclude=c --chmod=u=rwX,go=rX a /ex/\nRUN find /ex", "ex", "ex 755 .|ex/top.txt 644|ex/b 755 .|ex/b/1.txt 644", layered},
		{"exclude and letters", "COPY --exclude=r.md --exclude=c --chmod=u=rwX,go=rX a /ex/", "ex", "ex 755 .|ex/top.txt 644|ex/b 755 .|ex/b/1.txt 644", assembled},
		{"exclude by add", "ADD --exclude=r.md --exclude=c a /ex/\nRUN true", "ex", "ex 755 .|ex/" + strings.ReplaceAll(open, "|", "|ex/"), layered},
		{"all of it", "COPY a /ex\nRUN true", "ex", all, engineRung},
		{"setuid", "COPY --chmod=4755 a/top.txt /x\nRUN true", "x", "x 4755", layered},
		{"mode of a folder", "COPY --chmod=700 a/b /d\nRUN true", "d", "d 700 .|d/1.txt 700", layered},
		{"parents", "COPY --parents a/./b/*.txt a/c/x.txt /p/", "p", "p 755 .|p/b 755 .|p/b/1.txt 600|p/a 755 .|p/a/c 755 .|p/a/c/x.txt 755", assembled},
		{"parents, run last", "COPY --parents a/./b/*.txt a/c/x.txt /p/\nRUN true", "p", "p 755 .|p/b 755 .|p/b/1.txt 600|p/a 755 .|p/a/c 755 .|p/a/c/x.txt 755", layered},
		{"parents, then exclude", "COPY --parents a/c/x.txt /p/\nCOPY --exclude=r.md --exclude=c --chmod=go-r a /ex/", "ex", "ex 755 .|ex/top.txt 600|ex/b 711 .|ex/b/1.txt 600", assembled},
		{"parents, then exclude, run last", "COPY --parents a/c/x.txt /p/\nCOPY --exclude=r.md --exclude=c --chmod=go-r a /ex/\nRUN true", "ex", "ex 755 .|ex/top.txt 600|ex/b 711 .|ex/b/1.txt 600", layered},
		{"between runs", "RUN mkdir /ex && echo 1 > /ex/made\nCOPY --exclude=b --exclude=c a /ex/\nRUN test ! -e /ex/b && rm /ex/top.txt", "ex", "ex 755 .|ex/made 644|ex/r.md 644", layered},
		{"before a copy", "COPY --exclude=b --exclude=c a /ex/\nRUN rm /ex/r.md\nCOPY a/c /ex/c", "ex", "ex 755 .|ex/top.txt 644|ex/c 755 .|ex/c/x.txt 755", layered},
		{"out of a run", "RUN mkdir /s && echo 1 > /s/in && echo 1 > /s/out\nFROM busybox:1\nCOPY --from=0 --exclude=out /s /ex\nRUN true", "ex", "ex 755 .|ex/in 644", layered},
		{"an archive beside it", "COPY --exclude=b --exclude=c a /ex/\nADD archive.tar /ex/\nRUN rm /ex/r.md", "ex", "ex 755 .|ex/top.txt 644|ex/in 755 .|ex/in/archive 644", layered},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := parityContext(t)
			write(t, dir, "a/r.md", "r\n", "a/top.txt", "t\n", "a/b/1.txt", "1\n", "a/c/x.txt", "x\n")
			for p, m := range map[string]os.FileMode{"a/b/1.txt": 0o600, "a/c/x.txt": 0o755} {
				if err := os.Chmod(filepath.Join(dir, p), m); err != nil {
					t.Fatal(err)
				}
			}
			write(t, dir, "Dockerfile", "# syntax=docker/dockerfile:1.7-labs\nFROM busybox:1\n"+c.lines+"\nLABEL n="+rand.Text()+"\nCMD [\"x\"]\n")
			spec := Spec{Project: "older", Service: "c" + string(rune('a'+i)), Root: dir, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Platform: "linux/amd64"}
			r, err := (&ladder{runs: d, store: b.store, ep: b.ep}).Build(t.Context(), spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			if release, _, err := d.engine.Version(t.Context()); err != nil || r.Rung != c.rung && release < 20 {
				t.Errorf("rung %q (%s), want %q; %v", r.Rung, r.Why, c.rung, err)
			}
			img := imageOf(t, b.store, spec, r)
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			full := 0
			for _, h := range config.History {
				if !h.EmptyLayer {
					full++
				}
			}
			if len(config.Config.Cmd) != 1 || full != len(config.RootFS.DiffIDs) {
				t.Errorf("command %v, %d lines of history for %d layers", config.Config.Cmd, full, len(config.RootFS.DiffIDs))
			}
			got := map[string]bool{}
			for p, line := range flatten(t, img) {
				if p != c.below && !strings.HasPrefix(p, c.below+"/") {
					continue
				}
				f := strings.Fields(line)
				entry := p + " " + f[1]
				if f[0] == "5" {
					entry += " ."
				}
				got[entry] = true
			}
			want := map[string]bool{}
			for _, entry := range strings.Split(c.want, "|") {
				want[entry] = true
			}
			if !maps.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		})
	}
}

// TestOlderEngineSaysSo: where neither can, there is no image.
func TestOlderEngineSaysSo(t *testing.T) {
	b := newBench(t)
	d := &dockerBuilder{engine.New(b.docker), b.store, b.ep}
	if release, _, err := d.engine.Version(t.Context()); err != nil || release >= 12 {
		t.Logf("BuildKit 0.%d does all of it: %v", release, err)
		return
	}
	dir := parityContext(t)
	write(t, dir, "Dockerfile", "FROM busybox:1\nRUN true\nADD --exclude=in archive.tar /x/\n")
	spec := Spec{Project: "older", Service: "no", Root: dir, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Platform: "linux/amd64"}
	_, err := (&ladder{runs: d, store: b.store, ep: b.ep}).Build(t.Context(), spec, nil)
	p := problem.As(err)
	if p == nil || p.Code != "engine-too-old" || p.Where != "Dockerfile:3" || !strings.Contains(p.Summary, "Docker 2") || p.Hint == "" {
		t.Errorf("%v %+v", err, p)
	}
}

// TestOlderRemote: what does not say its version counts as old, as the BuildKit of the
// test does, and begins with an image of the session.
func TestOlderRemote(t *testing.T) {
	b := newBench(t)
	if err := upstream.New(b.docker, b.store, b.ep).Provide(t.Context(), []string{"busybox:1"}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	kit := startBuildKit(t, b.ep.PushHost)
	root, idx := project(t, "Dockerfile", "FROM "+b.ep.PushHost+"/"+registry.MirrorRepository("docker.io", "library/busybox")+":1\nCOPY --exclude=r.md --chmod=u=rwX,go= a /ex/\nRUN ls /ex > /seen\n",
		"a/r.md", "r", "a/top.txt", "t")
	builder, store := withoutEngine(t, kit, idx)
	spec := Spec{Project: "older", Service: "remote", Root: root, Context: root, Dockerfile: filepath.Join(root, "Dockerfile"), Platform: "linux/amd64"}
	r, err := builder.Build(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree := flatten(t, imageOf(t, store, spec, r))
	if !strings.HasPrefix(tree["ex/top.txt"], "0 600 ") || tree["ex/r.md"] != "" || !strings.Contains(tree["seen"], " 8 ") {
		t.Errorf("%s: top.txt %q, r.md %q, seen %q", r.Why, tree["ex/top.txt"], tree["ex/r.md"], tree["seen"])
	}
}
