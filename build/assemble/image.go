package assemble

import (
	"encoding/json"
	"fmt"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

const configType = "application/vnd.oci.image.config.v1+json"

// ociTypes are OCI's names for what engines push under Docker's.
var ociTypes = map[string]string{
	"application/vnd.docker.image.rootfs.diff.tar":              layerType,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":         layerType + "+gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd":         layerType + "+zstd",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
}

// image stores the configuration and returns the manifest. empty says for
// each light step whether it made no layer.
func (a *assembly) image(all []layer, empty []bool) ([]byte, error) {
	doc := a.recipe.config
	// The time of the build would make each digest another one.
	delete(doc, "created")
	type rootfs struct {
		Type    string          `json:"type"`
		DiffIDs []layout.Digest `json:"diff_ids"`
	}
	r := rootfs{Type: "layers", DiffIDs: []layout.Digest{}}
	m := layout.Manifest{SchemaVersion: 2, MediaType: layout.OCIManifest, Layers: []layout.Descriptor{}}
	for _, l := range all {
		r.DiffIDs = append(r.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, ociLayer(l.Descriptor))
	}
	history, err := alignHistory(doc["history"], len(all), empty)
	if err != nil {
		return nil, err
	}
	for field, v := range map[string]any{"rootfs": r, "history": history} {
		if doc[field], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	config, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return a.putManifest(m, config)
}

// putManifest writes a manifest and the configuration that it names, and returns the manifest.
func (a *assembly) putManifest(m layout.Manifest, config []byte) ([]byte, error) {
	d, err := a.store.PutBlob(config)
	if err != nil {
		return nil, err
	}
	m.Config = &layout.Descriptor{MediaType: configType, Digest: d, Size: int64(len(config))}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	_, err = a.store.PutBlob(raw)
	return raw, err
}

func ociLayer(d layout.Descriptor) layout.Descriptor {
	if t, ok := ociTypes[d.MediaType]; ok {
		d.MediaType = t
	}
	return d
}

// alignHistory makes the lines that are not marked empty as many as there are
// layers, which runtimes and scanners rely on: light steps that changed nothing
// are marked, and where an engine left out an empty layer of its own, its line
// is marked, oldest first after the base's.
func alignHistory(raw json.RawMessage, layers int, empty []bool) ([]map[string]any, error) {
	var lines []map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &lines); err != nil {
			return nil, fmt.Errorf("read the image's history: %w", err)
		}
	}
	full := func(l map[string]any) bool { b, _ := l["empty_layer"].(bool); return !b }
	// From the end: each light step has one line.
	at := len(lines) - 1
	for i := len(empty) - 1; i >= 0; i-- {
		for at >= 0 && !full(lines[at]) {
			at--
		}
		if at < 0 {
			break
		}
		if empty[i] {
			lines[at]["empty_layer"] = true
		}
		at--
	}
	count := 0
	for _, l := range lines {
		if full(l) {
			count++
		}
	}
	for i := at; i >= 0 && count > layers; i-- {
		if full(lines[i]) {
			lines[i]["empty_layer"] = true
			count--
		}
	}
	for ; count < layers; count++ {
		lines = append([]map[string]any{{"created_by": "a layer without history"}}, lines...)
	}
	return lines, nil
}
