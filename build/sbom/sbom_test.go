package sbom

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image has a layer for each map of names and contents; names with a * at the
// end are executable.
func image(t *testing.T, layers ...map[string]string) v1.Image {
	t.Helper()
	img := v1.Image(empty.Image)
	for _, files := range layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name, content := range files {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimSuffix(name, "*"), Mode: 0o644, Size: int64(len(content))}
			if strings.HasSuffix(name, "*") {
				h.Mode = 0o755
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func urls(packages []Package) []string {
	var all []string
	for _, p := range packages {
		all = append(all, p.URL)
	}
	return all
}

func TestScan(t *testing.T) {
	debian := map[string]string{
		"etc/os-release":                                         "ID=debian\nVERSION_ID=\"12\"\n",
		"var/lib/dpkg/status":                                    "Package: tar\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.34+dfsg-1.2\nDescription: x\n Package: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
		"srv/old.dist-info/METADATA":                             "Name: old\nVersion: 1\n",
		"usr/lib/python3/x/requests-2.31.dist-info/METADATA":     "Metadata-Version: 2.1\nName: Re_quests\nVersion: 2.31.0\n\nA text.\nName: no\n",
		"app/node_modules/express/package.json":                  `{"name":"express","version":"4.19.2"}`,
		"app/node_modules/express/test/package.json":             `{"name":"fixture","version":"1"}`,
		"app/node_modules/@acme/ui/package.json":                 `{"name":"@acme/ui","version":"1.0.0"}`,
		"app/node_modules/broken/package.json":                   `{`,
		"app/package-lock.json":                                  `{"lockfileVersion":3,"packages":{"":{"name":"shop","version":"1"},"node_modules/express":{"version":"4.19.2"},"node_modules/jest":{"version":"29.0.0","dev":true},"node_modules/a/node_modules/ms":{"version":"2.1.3"}}}`,
		"usr/lib/python3/dist-packages/yaml-6.egg-info/PKG-INFO": "Name: PyYAML\nVersion: 6.0\n",
	}
	got, err := Scan(t.Context(), image(t, debian, map[string]string{"srv/.wh.old.dist-info": ""}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"pkg:deb/debian/tar@1.34%2Bdfsg-1.2?arch=amd64&distro=debian-12",
		"pkg:npm/%40acme/ui@1.0.0", "pkg:npm/express@4.19.2", "pkg:npm/ms@2.1.3",
		"pkg:pypi/pyyaml@6.0", "pkg:pypi/re-quests@2.31.0",
	}
	if !slices.Equal(urls(got), want) {
		t.Errorf("got  %q\nwant %q", urls(got), want)
	}

	alpine := map[string]string{
		"etc/os-release":       "ID=alpine\nVERSION_ID=3.20.1\n",
		"lib/apk/db/installed": "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld.so\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\n",
	}
	if got, err = Scan(t.Context(), image(t, alpine)); err != nil || !slices.Equal(urls(got), []string{"pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1", "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1"}) {
		t.Errorf("%q %v", urls(got), err)
	}
	distroless := map[string]string{"var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a\nArchitecture: all\n", "var/lib/dpkg/status.d/tzdata.md5sums": "x: y\n"}
	if got, err = Scan(t.Context(), image(t, distroless)); err != nil || !slices.Equal(urls(got), []string{"pkg:deb/debian/tzdata@2024a?arch=all"}) {
		t.Errorf("%q %v", urls(got), err)
	}
}

func TestModules(t *testing.T) {
	s := &scanner{found: map[string]Package{}}
	s.modules("app/web", &buildinfo.BuildInfo{
		GoVersion: "go1.26.8 X:nocoverageredesign", Main: debug.Module{Path: "example.test/shop", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "golang.org/x/text", Version: "v0.3.0"},
			{Path: "example.test/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.test/new", Version: "v2.0.0+incompatible"}},
			{Path: "example.test/here", Version: "v1.0.0", Replace: &debug.Module{Path: "../here"}},
		},
	})
	want := []string{"pkg:golang/example.test/new@v2.0.0%2Bincompatible", "pkg:golang/golang.org/x/text@v0.3.0", "pkg:golang/stdlib@1.26.8"}
	if got := slices.Sorted(maps.Keys(s.found)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSPDX(t *testing.T) {
	about := About{Name: "shop/web", Digest: "sha256:" + strings.Repeat("a", 64), Platform: "linux/arm64/v8", Tool: "kdev-test"}
	packages := []Package{{"tar", "1.34", "pkg:deb/debian/tar@1.34", "var/lib/dpkg/status"}, {"express", "4", "pkg:npm/express@4", "app/x"}}
	raw, err := SPDX(about, packages)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := SPDX(about, packages); err != nil || !bytes.Equal(raw, again) {
		t.Error("the same image, another document")
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{d.SPDXID: true}
	for _, p := range d.Packages {
		if ids[p.SPDXID] || p.DownloadLocation == "" || p.FilesAnalyzed {
			t.Errorf("package %+v", p)
		}
		ids[p.SPDXID] = true
	}
	contained := 0
	for _, r := range d.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("%+v names what is not there", r)
		}
		if r.Type == "CONTAINS" {
			contained++
		}
	}
	if d.SPDXVersion != "SPDX-2.3" || contained != len(packages) || d.Packages[0].ExternalRefs[0].Locator != "pkg:oci/web@sha256:"+strings.Repeat("a", 64)+"?arch=arm64%2Fv8" {
		t.Errorf("%s", raw)
	}
}
