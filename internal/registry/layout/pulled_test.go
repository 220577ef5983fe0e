package layout

import (
	"encoding/json"
	"testing"
)

// What came from another registry is listed once for an image of several
// platforms, says where it came from, and gives way to a copy of the engine's.
func TestPulled(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	manifest := func(m Manifest) []byte {
		m.SchemaVersion = 2
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const repo = "mirror/docker.io/library/redis"
	layer, far := []byte("layer"), Descriptor{Digest: DigestOf([]byte("far")), Size: 3}
	config := Descriptor{Digest: DigestOf([]byte("config")), Size: 6}
	child := manifest(Manifest{MediaType: OCIManifest, Config: &config, Layers: []Descriptor{{Digest: DigestOf(layer), Size: 5}, {Digest: far.Digest, Size: 3, URLs: []string{"https://elsewhere.example"}}}})
	other := manifest(Manifest{MediaType: OCIManifest, Config: &far})
	index := manifest(Manifest{MediaType: OCIIndex, Manifests: []Descriptor{{Digest: DigestOf(child), Size: 9}, {Digest: DigestOf(other), Size: 9}}})
	put := func(tag, mediaType string, raw []byte) {
		t.Helper()
		if _, err := s.PutPulled(repo, tag, mediaType, raw); err != nil {
			t.Fatal(err)
		}
	}
	put("7", OCIIndex, index)
	put("", OCIManifest, child)
	put("7", OCIIndex, index)
	again, err := Open(s.Dir()) // as another process reads it
	if err != nil {
		t.Fatal(err)
	}
	entries, err := again.Entries()
	if err != nil || len(entries) != 1 || !entries[0].Pulled || entries[0].Digest != DigestOf(index) {
		t.Fatalf("%+v %v", entries, err)
	}
	if n, ok := s.Described(repo, DigestOf(layer)); n != 5 || !ok {
		t.Errorf("the layer: %d %t", n, ok)
	}
	for what, d := range map[string]Digest{"of an image that is not here": DigestOf(other), "of another repository": DigestOf(index)} {
		in := repo
		if what == "of another repository" {
			in, d = "mirror/docker.io/library/nginx", DigestOf(layer)
		}
		if _, ok := s.Described(in, d); ok {
			t.Errorf("what is %s is described", what)
		}
	}
	if _, ok := s.Described(repo, far.Digest); ok {
		t.Error("a layer that is elsewhere is described")
	}

	// A partial index is not complete, and not damaged: it stays, with what there is.
	if s.Complete(DigestOf(index)) == nil {
		t.Error("complete without its blobs")
	}
	for _, b := range [][]byte{layer, []byte("config")} {
		if _, err := s.PutBlob(b); err != nil {
			t.Fatal(err)
		}
	}
	report, err := s.Collect(t.Context(), Policy{Keep: 1})
	if err != nil || len(report.Removed) > 0 || report.Blobs > 0 || len(report.Kept) != 1 || report.Kept[0].Why != "mirror" {
		t.Errorf("%+v %v", report, err)
	}
	if err := s.Complete(DigestOf(child)); err != nil {
		t.Error(err)
	}

	// The engine's copy takes the tag; what came through goes with the next collection,
	// but for what a pod runs.
	if _, err := s.PutManifest(repo, "7", OCIManifest, child); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Resolve(repo, "7"); err != nil || e.Pulled || e.Digest != DigestOf(child) {
		t.Errorf("%+v %v", e, err)
	}
	if report, err = s.Collect(t.Context(), Policy{Keep: 1}); err != nil || len(report.Removed) != 1 || report.Blobs != 1 {
		t.Errorf("%+v %v", report, err)
	}
	// The same manifest from the registry leaves the engine's copy what it is.
	put("7", OCIManifest, child)
	if e, err := s.Resolve(repo, "7"); err != nil || e.Pulled {
		t.Errorf("%+v %v", e, err)
	}
	for name, tag := range map[string]string{"UPPER": "7", repo: "a/b"} {
		if _, err := s.PutPulled(name, tag, "", index); err == nil {
			t.Errorf("took %s:%s", name, tag)
		}
	}
}
