//go:build e2e

package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// A parityCase is a Dockerfile that the engine and kdev build from the same
// context; the file trees and the configurations have to be equal.
type parityCase struct {
	name, dockerfile string
	ignore           string
	target           string
	args             map[string]string
	want             string // rung; "" is "assembled"; "fails": both refuse
	// Paths, with a blank after each, that BuildKit before 0.12 (Docker before
	// 24) makes otherwise than today's: it leaves the mode of --chmod off
	// created folders, drops setuid, and passes --exclude by. kdev follows
	// the frontend that it links.
	modern string
}

// onto puts lines on a small base; onDebian on one with links and users.
func onto(lines string) string     { return "FROM busybox:1\n" + lines + "\n" }
func onDebian(lines string) string { return "FROM debian:bookworm-slim\n" + lines + "\n" }

const layered = "assembled on layers of the engine"

var parityCases = []parityCase{
	{name: "file to root", dockerfile: onto("COPY a.txt /")},
	{name: "file to file", dockerfile: onto("COPY a.txt /x")},
	{name: "file to folder", dockerfile: onto("COPY a.txt /x/")},
	{name: "file to folder with dot", dockerfile: onto("COPY a.txt /x/.")},
	{name: "file to new folders", dockerfile: onto("COPY a.txt /new/deep/name")},
	{name: "files to folder", dockerfile: onto("COPY a.txt run.sh /x/")},
	{name: "wildcard", dockerfile: onto("COPY *.txt /x/")},
	{name: "wildcard with hidden", ignore: "dangling\n", dockerfile: onto("COPY * /x/")},
	{name: "wildcard over a dangling link", dockerfile: onto("COPY * /x/"), want: "fails"},
	{name: "question mark", dockerfile: onto("COPY ?.txt /x/")},
	{name: "wildcard in the middle", dockerfile: onto("COPY d*/x.txt /x/")},
	{name: "wildcard of folders", dockerfile: onto("COPY dir* /x/")},
	{name: "wildcard without match", dockerfile: onto("COPY none* /x/\nCOPY a.txt /")},
	{name: "bracket escaped", dockerfile: onto("COPY odd[[]1].txt /x/")},
	{name: "folder to new", dockerfile: onto("COPY dir /x")},
	{name: "folder with slashes", dockerfile: onto("COPY dir/ /x/")},
	{name: "folder with dot", dockerfile: onto("COPY dir/. /x")},
	{name: "folder's entries", dockerfile: onto("COPY dir/* /x/")},
	{name: "two folders", dockerfile: onto("COPY dir other /x/")},
	{name: "empty folder", dockerfile: onto("COPY dir/empty /x/")},
	{name: "closed folder", dockerfile: onto("COPY closed /x/")},
	{name: "everything", dockerfile: onto("COPY . /x")},
	{name: "everything to workdir", dockerfile: onto("WORKDIR /w\nCOPY . .")},
	{name: "everything to root", dockerfile: onto("COPY . /")},
	{name: "leading slash", dockerfile: onto("COPY /a.txt /x")},
	{name: "dots in source", dockerfile: onto("COPY ./dir/../a.txt /x")},
	{name: "json form with space", dockerfile: onto(`COPY ["sp ace.txt", "/x/"]`)},
	{name: "unicode and long names", dockerfile: onto("COPY ü* /x/\nCOPY long /x/")},
	{name: "link to file", dockerfile: onto("COPY link /x")},
	{name: "link to folder", dockerfile: onto("COPY dirlink /x")},
	{name: "link to folder with slash", dockerfile: onto("COPY dirlink/ /x/")},
	{name: "through a link", dockerfile: onto("COPY dirlink/x.txt /x")},
	{name: "absolute link", dockerfile: onto("COPY abs /x")},
	{name: "dangling link", dockerfile: onto("COPY dangling /x"), want: "fails"},
	{name: "links inside", dockerfile: onto("COPY dir/inner dir/sub /x/")},
	{name: "wildcard over links", dockerfile: onto("COPY *link /x/")},
	{name: "setuid", dockerfile: onto("COPY suid /x/")},
	{name: "missing", dockerfile: onto("COPY nothere /x"), want: "fails"},
	{name: "file over folder", dockerfile: onto("COPY dir /x\nCOPY a.txt /x/sub/y.txt\nCOPY other /x/sub/y.txt/"), want: "fails"},

	{name: "chown numbers", dockerfile: onto("COPY --chown=1000:1001 dir /x")},
	{name: "chown one number", dockerfile: onto("COPY --chown=55 dir a.txt /x/deep/")},
	{name: "chown name", dockerfile: onDebian("COPY --chown=www-data:mail dir /x")},
	{name: "chown name only", dockerfile: onDebian("COPY --chown=www-data dir /x")},
	{name: "chown unknown name", dockerfile: onDebian("COPY --chown=nosuch a.txt /x"), want: "any"},
	{name: "chown of copied passwd", dockerfile: onto("COPY passwd /etc/passwd\nCOPY --chown=kdev a.txt /x")},
	{name: "chmod file", dockerfile: onto("COPY --chmod=640 a.txt /x")},
	{name: "chmod folder", dockerfile: onto("COPY --chmod=750 dir /x"), modern: "x "},
	{name: "chmod special", dockerfile: onto("COPY --chmod=4711 a.txt /x"), modern: "x "},
	{name: "chmod and chown", dockerfile: onto("COPY --chmod=600 --chown=7:8 dir/. /x/"), modern: "x "},

	{name: "into existing folder", dockerfile: onDebian("COPY a.txt /etc")},
	{name: "folder into existing", dockerfile: onDebian("COPY dir /etc")},
	{name: "over existing file", dockerfile: onDebian("COPY a.txt /etc/hostname\nCOPY passwd /etc/passwd")},
	{name: "through link of the base", dockerfile: onDebian("COPY a.txt /bin/a\nCOPY dir /lib/x")},
	{name: "through absolute link", dockerfile: onDebian("COPY dir /var/run/x/")},
	{name: "onto a link of the base", dockerfile: onDebian("COPY a.txt /etc/os-release")},
	{name: "onto an own link", dockerfile: onto("COPY dir /x\nCOPY other.txt /x/inner")},
	{name: "folder mode of the base", dockerfile: onDebian("COPY closed /var/cache/\nCOPY dir /tmp")},
	{name: "nested folder changes mode", dockerfile: onto("COPY dir /x\nCOPY other /x")},

	{name: "workdir new", dockerfile: onto("WORKDIR /a/b/c")},
	{name: "workdir relative", dockerfile: onto("WORKDIR /a\nWORKDIR b\nCOPY a.txt .")},
	{name: "workdir existing", dockerfile: onDebian("WORKDIR /etc\nCOPY a.txt .")},
	{name: "workdir of a user", dockerfile: onDebian("USER www-data\nWORKDIR /home/www/app\nCOPY a.txt .")},
	{name: "workdir of a number", dockerfile: onto("USER 1000:1000\nWORKDIR /w/x")},
	{name: "workdir through a link", dockerfile: onDebian("WORKDIR /var/run/app\nCOPY a.txt .")},

	{name: "metadata", dockerfile: onto(`ENV A=1 B="two words" C=$A-x
LABEL one=1 "two"="2 3"
EXPOSE 80 443/tcp 53/udp
VOLUME /data ["/more"]
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=5s --retries=2 CMD true
SHELL ["/bin/sh", "-ec"]
USER nobody
ENTRYPOINT ["/bin/echo", "$A"]
CMD echo hi
COPY a.txt /`)},
	{name: "entrypoint resets command", dockerfile: onto("CMD a\nENTRYPOINT b")},
	{name: "healthcheck none", dockerfile: onto("HEALTHCHECK NONE\nMAINTAINER me")},
	{name: "onbuild", dockerfile: onto("ONBUILD RUN true\nONBUILD COPY . /src")},
	{name: "variables", dockerfile: "ARG BASE=busybox:1\nFROM $BASE\nARG DIR=dir\nARG DEST\nENV D=/x/$DEST\nCOPY ${DIR}/x.txt ${D:-/none}/y\nWORKDIR $D", args: map[string]string{"DEST": "given"}},
	{name: "predefined arguments", dockerfile: onto("ARG TARGETARCH\nARG TARGETPLATFORM\nENV T=$TARGETARCH P=$TARGETPLATFORM")},
	{name: "escape directive", dockerfile: "# escape=`\nFROM busybox:1\nCOPY a.txt `\n  /x"},
	{name: "syntax line", dockerfile: "# syntax=docker/dockerfile:1.7\n" + onto("COPY a.txt /")},

	{name: "base that nobody has", dockerfile: "FROM kdev.invalid/none:1\nCOPY a.txt /", want: "fails"},
	{name: "scratch", dockerfile: "FROM scratch\nCOPY dir /\nCMD [\"/x\"]"},
	{name: "scratch alone", dockerfile: "FROM scratch\nENV A=1", want: "any"},
	{name: "from a stage", dockerfile: "FROM busybox:1 AS a\nWORKDIR /w\nCOPY dir /w/dir\nENV A=1\nFROM a\nCOPY a.txt .\nENV B=$A"},
	{name: "copy from a stage", dockerfile: "FROM scratch AS a\nCOPY --chown=5:6 dir /d\nCOPY a.txt /d/\nFROM busybox:1\nCOPY --from=a /d/sub /x/\nCOPY --from=a /d/*.txt /y/\nCOPY --from=0 /d /z"},
	{name: "copy from a stage with owner", dockerfile: "FROM scratch AS a\nCOPY --chown=5:6 dir /d\nFROM busybox:1\nCOPY --from=a --chown=7 /d /x"},
	{name: "copy from an image", dockerfile: "FROM scratch\nCOPY --from=debian:bookworm-slim /etc/passwd /etc/group /etc/\nCOPY --from=debian:bookworm-slim /etc/cron.daily /cron"},
	{name: "copy a link from an image", dockerfile: "FROM scratch\nCOPY --from=debian:bookworm-slim /etc/os-release /os\nCOPY --from=debian:bookworm-slim /etc/alternatives /alt"},
	{name: "target", dockerfile: "FROM busybox:1 AS a\nCOPY a.txt /a\nFROM a AS b\nCOPY dir /b\nFROM b\nRUN false", target: "b"},
	{name: "unused stage with run", dockerfile: "FROM busybox:1 AS unused\nRUN false\nFROM busybox:1\nCOPY a.txt /"},

	{name: "heredoc", dockerfile: onto("COPY <<EOF /x/conf\nhello $A\nEOF\nCOPY <<-\"EOF\" /y\n\tindented $A\nEOF")},
	{name: "heredocs to folder", dockerfile: onto("COPY <<one <<two /x/\n1\none\n2\ntwo")},
	{name: "heredoc with mode", dockerfile: onto("COPY --chmod=755 --chown=3 <<EOF /x/run\n#!/bin/sh\nEOF")},
	{name: "add files", dockerfile: onto("ADD a.txt dir /x/")},
	{name: "add an archive", dockerfile: onto("ADD archive.tar /x/"), want: engineRung},
	{name: "add a packed archive", dockerfile: onto("ADD archive.tar.gz /x/"), want: engineRung},
	{name: "copy an archive", dockerfile: onto("COPY archive.tar.gz /x/")},
	{name: "link option", dockerfile: onto("COPY --link dir /x\nCOPY --link --chown=9 a.txt /x/sub/")},
	{name: "exclude", dockerfile: "# syntax=docker/dockerfile:1.7-labs\n" + onto("COPY --exclude=a* --exclude=sub/y* . /x"), modern: "x/a.txt x/abs x/archive.tar x/archive.tar.gz "},

	{name: "ignored files", ignore: "*.txt\n!a.txt\ndir/sub\n", dockerfile: onto("COPY . /x")},
	{name: "ignored everywhere", ignore: "**/*.txt\n", dockerfile: onto("COPY . /x")},
	{name: "all but", ignore: "*\n!dir/sub/y.txt\n!a.txt\n", dockerfile: onto("COPY . /x")},
	{name: "ignored folder with exception", ignore: "dir\n!dir/sub\n", dockerfile: onto("COPY dir /x")},
	{name: "ignored source", ignore: "a.txt\n", dockerfile: onto("COPY a.txt /x"), want: "fails"},
	{name: "dockerfile ignored", ignore: "Dockerfile\n.dockerignore\n", dockerfile: onto("COPY . /x")},

	{name: "overlapping copies", dockerfile: onto("COPY dir /x\nCOPY a.txt /x/x.txt\nCOPY other /x\nCOPY dir/sub /x/sub")},
	{name: "the same twice", dockerfile: onto("COPY dir /x\nCOPY dir /x")},
	{name: "nothing new", dockerfile: onto("WORKDIR /\nCOPY dir /x\nWORKDIR /x")},

	{name: "after a run", dockerfile: onto("WORKDIR /w\nCOPY a.txt .\nRUN echo made > made && mkdir -p sub && chmod 711 sub\nCOPY dir ./\nCMD [\"x\"]"), want: layered},
	{name: "after runs", dockerfile: onDebian("RUN useradd -u 4321 kdev\nUSER kdev\nWORKDIR /home/kdev/app\nCOPY --chown=kdev:kdev dir .\nCOPY a.txt sub/\nENV A=b"), want: layered},
	{name: "over what a run made", dockerfile: onto("RUN mkdir /x && echo 1 > /x/a.txt && ln -s /x /y && chmod 1777 /x\nCOPY a.txt /y/\nCOPY dir /y"), want: layered},
	{name: "after a run that removes", dockerfile: onDebian("RUN rm -r /etc/cron.daily /var/cache/apt && mkdir /var/cache/apt\nCOPY dir /etc/cron.daily\nCOPY a.txt /var/cache/apt/"), want: layered},
	{name: "run in a stage that is copied from first", dockerfile: "FROM busybox:1 AS b\nRUN echo built > /out\nFROM busybox:1\nCOPY --from=b /out /bin/out\nCOPY dir /x", want: layered},
	{name: "run in the base stage", dockerfile: "FROM busybox:1 AS b\nRUN echo built > /out\nFROM b\nCOPY dir /x\nLABEL a=b", want: layered},
	{name: "run with the context mounted", dockerfile: onto("RUN --mount=type=bind,target=/c ls /c/dir > /list\nCOPY a.txt /"), want: layered},
	{name: "metadata after a run", dockerfile: onto("RUN echo 1 > /x\nENV A=1\nCMD [\"y\"]"), want: engineRung},
	{name: "copy from a run last", dockerfile: "FROM busybox:1 AS b\nRUN echo built > /out\nFROM busybox:1\nCOPY dir /x\nCOPY --from=b /out /bin/out", want: engineRung},
	{name: "run last", dockerfile: onto("COPY dir /x\nRUN rm -r /x/sub && echo 1 > /y"), want: engineRung},
}

const engineRung = "the engine's BuildKit"

func parityContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	long := "long/" + strings.Repeat("abcdefghij/", 12) + strings.Repeat("n", 120)
	write(t, dir, "a.txt", "a\n", "other.txt", "o\n", "run.sh", "#!/bin/sh\n", "dir/x.txt", "x\n", "dir/sub/y.txt", "y\n",
		"other/sub/z.txt", "z\n", "other/x.txt", "changed\n", "closed/c.txt", "c\n", "sp ace.txt", "s\n", "odd[1].txt", "odd\n",
		".hidden", "h\n", "ünï.txt", "u\n", "suid", "s\n", "passwd", "root:x:0:0::/:/bin/sh\nkdev:x:12:34::/:/bin/sh\n", long, "l\n")
	for p, m := range map[string]os.FileMode{"run.sh": 0o755, "dir/sub/y.txt": 0o600, "suid": 0o755 | os.ModeSetuid, "closed": 0o700, "other/sub": 0o711, "dir": 0o775} {
		if err := os.Chmod(filepath.Join(dir, p), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dir/empty"), 0o750); err != nil {
		t.Fatal(err)
	}
	for p, target := range map[string]string{"link": "a.txt", "dirlink": "dir", "abs": "/dir/x.txt", "dangling": "nowhere", "dir/inner": "x.txt", "dir/sub/up": "../x.txt"} {
		if err := os.Symlink(target, filepath.Join(dir, p)); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "in/archive", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	if _, err := zw.Write(buf.Bytes()); err != nil {
		t.Fatal(err)
	}
	zw.Close()
	write(t, dir, "archive.tar", buf.String(), "archive.tar.gz", z.String())
	return dir
}

func TestParity(t *testing.T) {
	b := newBench(t)
	d := &dockerBuilder{engine.New(b.docker), b.store, b.ep}
	for i, c := range parityCases {
		t.Run(c.name, func(t *testing.T) {
			dir := parityContext(t)
			// Neither builder may find the other's work, or that of another run.
			text := c.dockerfile + "\n# " + rand.Text() + "\n"
			write(t, dir, "Dockerfile", text)
			if c.ignore != "" {
				write(t, dir, ".dockerignore", c.ignore)
			}
			spec := Spec{Project: "parity", Service: fmt.Sprintf("c%d", i), Root: dir, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Target: c.target, Args: c.args, Platform: "linux/amd64"}
			theirs, theirErr := d.Build(t.Context(), spec, nil)
			ours, ourErr := (&ladder{runs: d, store: b.store, ep: b.ep}).Build(t.Context(), spec, nil)
			if c.want == "fails" {
				if theirErr == nil || ourErr == nil {
					t.Fatalf("the engine says %v, kdev %v: want both to fail", theirErr, ourErr)
				}
				if p := problem.As(ourErr); p == nil || !strings.HasPrefix(p.Where, "Dockerfile:") || p.Hint == "" {
					t.Errorf("%v has no place or no hint", ourErr)
				}
				return
			}
			if theirErr != nil && c.want == "any" && ourErr != nil {
				return
			}
			if theirErr != nil || ourErr != nil {
				t.Fatalf("the engine says %v, kdev %v", theirErr, ourErr)
			}
			want := c.want
			if want == "" {
				want = "assembled"
			}
			if want != "any" && ours.Rung != want {
				t.Errorf("rung %q (%s), want %q", ours.Rung, ours.Why, want)
			}
			compareImages(t, imageOf(t, b.store, spec, theirs), imageOf(t, b.store, spec, ours), c.modern)

			// The same again gives the same digest, and needs no engine.
			if ours.Rung == engineRung {
				return
			}
			again, err := (&ladder{runs: d, store: b.store, ep: b.ep}).again(t, spec)
			if err != nil || again != ours.Digest {
				t.Errorf("again: %s %v, want %s", again, err, ours.Digest)
			}
		})
	}
}

// again assembles without an engine.
func (b *ladder) again(t *testing.T, spec Spec) (string, error) {
	t.Helper()
	req, done, err := b.request(spec)
	if err != nil {
		return "", err
	}
	defer done()
	r, err := assemble.Make(t.Context(), b.store, nil, req, nil)
	if err != nil {
		return "", err
	}
	return r.Digest, nil
}

func imageOf(t *testing.T, store *registry.Store, spec Spec, r *Result) v1.Image {
	t.Helper()
	img, err := store.Image(spec.Repository(), r.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func compareImages(t *testing.T, theirs, ours v1.Image, modern string) {
	t.Helper()
	var trees [2]map[string]string
	var configs [2]string
	for i, img := range []v1.Image{theirs, ours} {
		trees[i] = flatten(t, img)
		c, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.MarshalIndent(map[string]any{"config": c.Config, "os": c.OS, "arch": c.Architecture}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		configs[i] = string(raw)
		full := 0
		for _, h := range c.History {
			if !h.EmptyLayer {
				full++
			}
		}
		if i == 1 && full != len(c.RootFS.DiffIDs) {
			t.Errorf("%d lines of history for %d layers", full, len(c.RootFS.DiffIDs))
		}
	}
	if configs[0] != configs[1] {
		t.Errorf("the engine's configuration:\n%s\nkdev's:\n%s", configs[0], configs[1])
	}
	all := map[string]bool{}
	for _, tree := range trees {
		for p := range tree {
			all[p] = true
		}
	}
	var paths []string
	for p := range all {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	for _, p := range paths {
		if trees[0][p] != trees[1][p] && !strings.Contains(modern, p+" ") {
			t.Errorf("%s: the engine has %q, kdev %q", p, trees[0][p], trees[1][p])
		}
	}
}

// flatten is the image's file tree, by a merge that is not ours.
func flatten(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	tree := map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return tree
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, tr); err != nil {
			t.Fatal(err)
		}
		p := strings.Trim(filepath.Clean("/"+h.Name), "/")
		line := fmt.Sprintf("%c %o %d:%d %s", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Linkname)
		if h.Typeflag == tar.TypeReg {
			line += fmt.Sprintf(" %d %x", h.Size, sum.Sum(nil)[:6])
		}
		if _, twice := tree[p]; !twice {
			tree[p] = line
		}
	}
}
