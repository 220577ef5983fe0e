package baseimage

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/hack/internal/docker"
)

func TestTruthful(t *testing.T) {
	for _, c := range []struct {
		version  string
		suffixes []string
		want     []string
	}{
		{"3.11.2", []string{"-slim"}, []string{"3.11.2-slim", "3.11-slim", "3-slim"}},
		{"15.20", []string{"", "-bookworm"}, []string{"15.20", "15.20-bookworm", "15", "15-bookworm"}},
		{"7", []string{""}, []string{"7"}},
		{"", []string{""}, nil},
	} {
		if got := truthful(c.version, c.suffixes); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.version, got, c.want)
		}
	}
}

// A wanted tag must be one that some version gives the image, or it could never be made.
func TestWantedTagsCanBeTrue(t *testing.T) {
	number := regexp.MustCompile(`^\d+(\.\d+)*`)
	for _, i := range images() {
		if len(i.wanted) == 0 {
			t.Errorf("%s: no tag is wanted", i.name)
		}
		for _, tag := range i.wanted {
			version := number.FindString(tag)
			if i.fixed != "" && !slices.Contains(refs(i, i.fixed), i.name+":"+tag) {
				t.Errorf("%s:%s is not true of %s", i.name, tag, i.fixed)
			}
			if !slices.Contains(refs(i, version), i.name+":"+tag) {
				t.Errorf("%s:%s: no version gives it that tag", i.name, tag)
			}
			if tag == "latest" && !strings.Contains(i.name, "distroless") {
				t.Errorf("%s:latest cannot be true of what Debian has", i.name)
			}
		}
	}
}

func TestEveryFileIsThere(t *testing.T) {
	used := map[string]bool{}
	for _, i := range images() {
		for _, name := range append([]string{dockerfile(i.name)}, i.files...) {
			name = "files/" + strings.TrimPrefix(name, "files/")
			used[name] = true
			if _, err := fs.Stat(files, name); err != nil {
				t.Errorf("%s: %v", i.name, err)
			}
		}
	}
	entries, err := fs.ReadDir(files, "files")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !used["files/"+e.Name()] {
			t.Errorf("%s: used by no image", e.Name())
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, strings.Join(Names()[1:], " ")},
		{[]string{"redis", "static-debian12", "debian"}, "redis gcr.io/distroless/static-debian12"},
		{[]string{"gcr.io/distroless/static-debian12"}, "gcr.io/distroless/static-debian12"},
		{[]string{"redis", "mysql"}, "error"},
	} {
		chosen, err := choose(c.names)
		var got []string
		for _, i := range chosen {
			got = append(got, i.name)
		}
		if joined := strings.Join(got, " "); (err != nil) != (c.want == "error") || err == nil && joined != c.want {
			t.Errorf("%q: got %q, %v", c.names, got, err)
		}
	}
}

func TestComplete(t *testing.T) {
	made := func(recipe string) docker.Image {
		var i docker.Image
		if recipe != "" {
			i.Config.Labels = map[string]string{docker.Label: recipe}
		}
		return i
	}
	for _, c := range []struct {
		name string
		here map[string]docker.Image
		want bool
	}{
		{"nothing there", nil, false},
		{"one missing", map[string]docker.Image{"a:1": made("new")}, false},
		{"all there", map[string]docker.Image{"a:1": made("new"), "a:2": made("new")}, true},
		{"one is outdated", map[string]docker.Image{"a:1": made("new"), "a:2": made("old")}, false},
		{"one is somebody else's", map[string]docker.Image{"a:1": made("new"), "a:2": made("")}, true},
	} {
		if got := complete([]string{"a:1", "a:2"}, c.here, "new"); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestParseSources(t *testing.T) {
	const usual = "http://deb.debian.org/debian"
	for _, c := range []struct{ name, text, main, security string }{
		{"nothing", "", usual, usual + "-security"},
		{"one line", "deb http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian-security bookworm-security main\n",
			"http://mirror.test/debian", "http://mirror.test/debian-security"},
		{"options", "deb [arch=amd64 signed-by=/k] https://mirror.test/debian/ bookworm main\n", "https://mirror.test/debian", usual + "-security"},
		{"deb822", "Types: deb\n# URIs: http://old.test/debian\nURIs: http://mirror.test/debian\nSuites: bookworm\n\nTypes: deb\nURIs: http://mirror.test/debian-security\n",
			"http://mirror.test/debian", "http://mirror.test/debian-security"},
		{"archives of others", "deb https://apt.test/cloud sdk main\ndeb-src http://src.test/debian bookworm main\nURIs: https://deb.test/node_20.x\n", usual, usual + "-security"},
	} {
		got := parseSources(c.text)
		if got.main != c.main || got.security != c.security {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}
