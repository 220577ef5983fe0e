package nodeimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestGoMod(t *testing.T) {
	got := goMod("// generated\n\nmodule k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/a/b v1.0.0\n\tk8s.io/api v0.0.0\n)\n\n"+
		"replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/client-go => ./staging/src/k8s.io/client-go\n)\n",
		"module github.com/kdev-io/kdev\n\nrequire (\n\tgithub.com/c/d v1.2.3\n\tgithub.com/containerd/containerd/v2 v2.0.0 // indirect\n)\n")
	for _, want := range []string{
		"\nmodule kdev.dev/offline/node\n", "\ngo 1.26.0\n", "\tgithub.com/a/b v1.0.0\n", "\tgithub.com/c/d v1.2.3\n",
		"\tk8s.io/kubernetes " + kubernetes + "\n", "\tgithub.com/containerd/containerd/v2 " + containerd + "\n",
		"\tk8s.io/api => k8s.io/api " + staging + "\n", "\tk8s.io/client-go => k8s.io/client-go " + staging + "\n",
	} {
		if !strings.Contains("\n"+got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "containerd/v2 v2.0.0") {
		t.Errorf("a program of the node at kdev's version in\n%s", got)
	}
	if strings.Contains(got, "./staging") || strings.Contains(got, "module k8s.io/kubernetes") {
		t.Errorf("left over in\n%s", got)
	}
}

// What kdev and the node's programs share is compiled once only where the versions are the same.
func TestVersionsAreKdevs(t *testing.T) {
	text, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, line := range requirement.FindAllStringSubmatch(string(text), -1) {
		versions[line[1]] = line[2]
	}
	for path, version := range versions {
		if want := requirements[path]; want != "" && version != want {
			t.Errorf("%s %s, and the node's is %s", path, version, want)
		}
	}
	if got := versions["k8s.io/client-go"]; got != staging {
		t.Errorf("client-go %s, and the node's is %s", got, staging)
	}
}

// The staging modules carry Kubernetes's own version, with a zero for the one.
func TestVersionsBelongTogether(t *testing.T) {
	if want := "v0" + strings.TrimPrefix(kubernetes, "v1"); staging != want {
		t.Errorf("staging %s, want %s", staging, want)
	}
}

func TestRepack(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar")
	var saved bytes.Buffer
	w := tar.NewWriter(&saved)
	file := func(name, content string) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	file("1/layer.tar", "the layer")
	// Docker 20.10 writes a layer that occurs twice as a link.
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "2/layer.tar", Linkname: "../1/layer.tar"}); err != nil {
		t.Fatal(err)
	}
	file("config.json", `{"architecture":"amd64","config":{"Cmd":["bash"],"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":["x","x"]}}`)
	file("manifest.json", `[{"Config":"config.json","RepoTags":["a:1"],"Layers":["1/layer.tar","2/layer.tar"]}]`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, saved.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := repack(in, out, []podImage{{name: "r.test/a:1"}, {name: "r.test/b:1", entrypoint: "/b"}}); err != nil {
		t.Fatal(err)
	}

	content := read(t, out)
	var index struct{ Manifests []descriptor }
	decode(t, content["index.json"], &index)
	if len(index.Manifests) != 2 {
		t.Fatalf("%d images", len(index.Manifests))
	}
	for n, want := range []struct{ name, entrypoint string }{{"r.test/a:1", ""}, {"r.test/b:1", "/b"}} {
		m := index.Manifests[n]
		if m.Annotations["io.containerd.image.name"] != want.name {
			t.Errorf("name %q", m.Annotations)
		}
		blob := func(d descriptor) []byte {
			text, ok := content["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
			if !ok || len(text) != d.Size {
				t.Fatalf("%s: %d bytes, want %d", d.Digest, len(text), d.Size)
			}
			return text
		}
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		decode(t, blob(m), &manifest)
		if len(manifest.Layers) != 2 || manifest.Layers[0].Digest != manifest.Layers[1].Digest {
			t.Errorf("layers %+v", manifest.Layers)
		}
		plain, err := zstd.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(plain); err != nil || string(text) != "the layer" {
			t.Errorf("layer %q, %v", text, err)
		}
		var config struct {
			Config struct{ Entrypoint, Cmd, Env []string }
			Rootfs struct{ Type string }
		}
		decode(t, blob(manifest.Config), &config)
		if want.entrypoint == "" && (len(config.Config.Entrypoint) > 0 || len(config.Config.Cmd) != 1) {
			t.Errorf("%s: %+v", want.name, config)
		}
		if want.entrypoint != "" && (len(config.Config.Entrypoint) != 1 || config.Config.Entrypoint[0] != want.entrypoint || len(config.Config.Cmd) > 0) {
			t.Errorf("%s: %+v", want.name, config)
		}
		if len(config.Config.Env) != 1 || config.Rootfs.Type != "layers" {
			t.Errorf("%s: %+v", want.name, config)
		}
	}
}

func read(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := map[string][]byte{}
	for in := tar.NewReader(f); ; {
		header, err := in.Next()
		if err == io.EOF {
			return content
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := content[header.Name]; twice {
			t.Errorf("%s: twice", header.Name)
		}
		if content[header.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
