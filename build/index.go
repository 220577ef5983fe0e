package build

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Index makes one image of several: an index with the image of each platform,
// in the order of platforms. It returns the digest of the index.
func Index(store *registry.Store, repo string, platforms []string, results []*Result) (string, error) {
	m := layout.Manifest{SchemaVersion: 2, MediaType: layout.OCIIndex}
	for i, platform := range platforms {
		raw, err := store.ReadBlob(layout.Digest(results[i].Digest))
		if err != nil {
			return "", fmt.Errorf("index of %s: %w", repo, err)
		}
		image, err := layout.ParseManifest(raw, "")
		if err != nil {
			return "", fmt.Errorf("index of %s: %w", repo, err)
		}
		p := map[string]string{}
		goos, arch, _ := strings.Cut(platform, "/")
		p["os"] = goos
		if arch, variant, ok := strings.Cut(arch, "/"); ok {
			p["architecture"], p["variant"] = arch, variant
		} else {
			p["architecture"] = arch
		}
		d := layout.Descriptor{MediaType: image.MediaType, Digest: layout.Digest(results[i].Digest), Size: int64(len(raw))}
		if d.Platform, err = json.Marshal(p); err != nil {
			return "", err
		}
		m.Manifests = append(m.Manifests, d)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	digest := layout.DigestOf(raw)
	_, err = store.PutPartialManifest(repo, registry.Short(string(digest)), layout.OCIIndex, raw)
	return string(digest), err
}
