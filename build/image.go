package build

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Media types of what kdev writes.
const (
	ociConfig = "application/vnd.oci.image.config.v1+json"
	ociLayer  = "application/vnd.oci.image.layer.v1.tar"
)

// ociTypes are OCI's names for what engines push under Docker's.
var ociTypes = map[string]string{
	"application/vnd.docker.container.image.v1+json":            ociConfig,
	"application/vnd.docker.image.rootfs.diff.tar":              ociLayer,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":         ociLayer + "+gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd":         ociLayer + "+zstd",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
}

// An imageDoc is an image's manifest and configuration, opened for a change.
// Fields that kdev does not know keep their values; layers are descriptors,
// never read.
type imageDoc struct {
	manifest *layout.Manifest
	top      map[string]json.RawMessage // the configuration document
	config   map[string]json.RawMessage // its "config"
	rootfs   struct {
		Type    string          `json:"type"`
		DiffIDs []layout.Digest `json:"diff_ids"`
	}
	history []json.RawMessage
}

func openImage(store *registry.Store, digest string) (*imageDoc, error) {
	raw, err := store.ReadBlob(layout.Digest(digest))
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", digest, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", digest, err)
	}
	if m.Config == nil {
		return nil, fmt.Errorf("manifest %s is of no image", digest)
	}
	raw, err = store.ReadBlob(m.Config.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of %s: %w", digest, err)
	}
	d := &imageDoc{manifest: m}
	if err := json.Unmarshal(raw, &d.top); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", digest, err)
	}
	for field, into := range map[string]any{"config": &d.config, "rootfs": &d.rootfs, "history": &d.history} {
		if v, ok := d.top[field]; ok {
			if err := json.Unmarshal(v, into); err != nil {
				return nil, fmt.Errorf("configuration of %s: %s: %w", digest, field, err)
			}
		}
	}
	if d.config == nil {
		d.config = map[string]json.RawMessage{}
	}
	if len(d.rootfs.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("image %s has %d layers and %d diff IDs", digest, len(m.Layers), len(d.rootfs.DiffIDs))
	}
	return d, nil
}

// emptyImage is an image for a platform that holds nothing.
func emptyImage(platform string) (*imageDoc, error) {
	goos, arch, _ := strings.Cut(platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	d := &imageDoc{manifest: &layout.Manifest{}, top: map[string]json.RawMessage{}, config: map[string]json.RawMessage{}}
	d.rootfs.Type, d.rootfs.DiffIDs = "layers", []layout.Digest{}
	for field, v := range map[string]string{"os": goos, "architecture": arch, "variant": variant, "created": epoch} {
		if v == "" {
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		d.top[field] = raw
	}
	return d, nil
}

// list and text read a field of "config"; what is absent or null is empty.
func (d *imageDoc) list(field string) []string {
	var v []string
	_ = json.Unmarshal(d.config[field], &v)
	return v
}

func (d *imageDoc) text(field string) string {
	var v string
	_ = json.Unmarshal(d.config[field], &v)
	return v
}

func (d *imageDoc) set(field string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d.config[field] = raw
	return nil
}

func (d *imageDoc) startConfig() Config {
	return Config{
		Entrypoint: d.list("Entrypoint"), Cmd: d.list("Cmd"), Env: d.list("Env"),
		User: d.text("User"), WorkingDir: d.text("WorkingDir"), StopSignal: d.text("StopSignal"),
	}
}

// add puts a layer on top of all others. diffID is the digest of its tar.
func (d *imageDoc) add(l layout.Descriptor, diffID layout.Digest, createdBy string) error {
	h, err := historyLine(createdBy)
	if err != nil {
		return err
	}
	d.manifest.Layers = append(d.manifest.Layers, l)
	d.rootfs.DiffIDs = append(d.rootfs.DiffIDs, diffID)
	d.history = append(d.history, h)
	return nil
}

func historyLine(createdBy string) (json.RawMessage, error) {
	return json.Marshal(map[string]string{"created": epoch, "created_by": createdBy})
}

// prepend puts a layer under all others.
func (d *imageDoc) prepend(l layout.Descriptor, diffID layout.Digest, createdBy string) error {
	h, err := historyLine(createdBy)
	if err != nil {
		return err
	}
	d.manifest.Layers = append([]layout.Descriptor{l}, d.manifest.Layers...)
	d.rootfs.DiffIDs = append([]layout.Digest{diffID}, d.rootfs.DiffIDs...)
	d.history = append([]json.RawMessage{h}, d.history...)
	return nil
}

// epoch is the time of what has none: equal inputs give equal digests.
const epoch = "1970-01-01T00:00:00Z"

// write stores configuration and manifest, with OCI's media types, and
// returns the manifest.
func (d *imageDoc) write(store *registry.Store) ([]byte, error) {
	for field, v := range map[string]any{"config": d.config, "rootfs": d.rootfs, "history": d.history} {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		d.top[field] = raw
	}
	// A map is marshalled with sorted keys: the same document each time.
	config, err := json.Marshal(d.top)
	if err != nil {
		return nil, err
	}
	digest, err := store.PutBlob(config)
	if err != nil {
		return nil, err
	}
	m := layout.Manifest{
		SchemaVersion: 2, MediaType: layout.OCIManifest, Annotations: d.manifest.Annotations,
		Config: &layout.Descriptor{MediaType: ociConfig, Digest: digest, Size: int64(len(config))},
	}
	for _, l := range d.manifest.Layers {
		if t, ok := ociTypes[l.MediaType]; ok {
			l.MediaType = t
		}
		m.Layers = append(m.Layers, l)
	}
	return json.Marshal(m)
}
