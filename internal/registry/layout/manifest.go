package layout

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Media types that decide how a manifest is read. The Docker ones are what
// engines push; their JSON has the same shape as OCI's.
const (
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// A Descriptor is the OCI content descriptor.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
}

// A Manifest is what the store must know of an image manifest or an index:
// what it refers to. The bytes stay as they came, since their hash is their name.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *Descriptor       `json:"config,omitempty"`
	Layers        []Descriptor      `json:"layers,omitempty"`
	Manifests     []Descriptor      `json:"manifests,omitempty"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// MaxManifest is the largest manifest that is accepted; the distribution
// spec asks for at least 4 MiB.
const MaxManifest = 4 << 20

// ParseManifest reads an image manifest or an index. mediaType is what the
// client claimed and may be empty; it must agree with the document.
func ParseManifest(raw []byte, mediaType string) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("manifest is not JSON: %w", err)
	}
	if m.SchemaVersion != 2 {
		return nil, fmt.Errorf("manifest has schemaVersion %d, want 2", m.SchemaVersion)
	}
	if m.MediaType != "" && mediaType != "" && m.MediaType != mediaType {
		return nil, fmt.Errorf("manifest says mediaType %q, the request says %q", m.MediaType, mediaType)
	}
	if m.MediaType == "" {
		m.MediaType = mediaType
	}
	if m.MediaType == "" {
		// OCI documents may leave the field out; what they hold tells them apart.
		m.MediaType = OCIManifest
		if m.Config == nil && m.Manifests != nil {
			m.MediaType = OCIIndex
		}
	}
	index := m.MediaType == OCIIndex || m.MediaType == DockerList
	if !index && m.Config == nil {
		return nil, errors.New("image manifest has no config")
	}
	if index && (m.Config != nil || m.Layers != nil) {
		return nil, errors.New("index holds a config or layers")
	}
	for _, d := range m.descriptors() {
		if _, err := ParseDigest(string(d.Digest)); err != nil {
			return nil, err
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("descriptor %s has a negative size", d.Digest)
		}
	}
	return &m, nil
}

// IsIndex says whether m lists other manifests.
func (m *Manifest) IsIndex() bool { return m.MediaType == OCIIndex || m.MediaType == DockerList }

// Needs are the descriptors without which m cannot be pulled from here:
// not its subject, and not layers that live at a foreign URL.
func (m *Manifest) Needs() []Descriptor {
	var out []Descriptor
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	for _, d := range m.Layers {
		if len(d.URLs) == 0 {
			out = append(out, d)
		}
	}
	return append(out, m.Manifests...)
}

func (m *Manifest) descriptors() []Descriptor {
	var out []Descriptor
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	if m.Subject != nil {
		out = append(out, *m.Subject)
	}
	return append(append(out, m.Layers...), m.Manifests...)
}
