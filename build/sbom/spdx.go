package sbom

import (
	"encoding/json"
	"fmt"
	"strings"
)

// An About says which image a document is about.
type About struct {
	Name     string // "shop/web"
	Digest   string // of its manifest
	Platform string // "linux/amd64"
	Tool     string // "kdev-0.3.0"
}

// The parts of SPDX 2.3 that are written (spdx.github.io/spdx-spec/v2.3).
type (
	document struct {
		SPDXVersion       string         `json:"spdxVersion"`
		DataLicense       string         `json:"dataLicense"`
		SPDXID            string         `json:"SPDXID"`
		Name              string         `json:"name"`
		DocumentNamespace string         `json:"documentNamespace"`
		CreationInfo      creationInfo   `json:"creationInfo"`
		Packages          []spdxPackage  `json:"packages"`
		Relationships     []relationship `json:"relationships"`
	}
	creationInfo struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		SPDXID           string        `json:"SPDXID"`
		Name             string        `json:"name"`
		VersionInfo      string        `json:"versionInfo,omitempty"`
		DownloadLocation string        `json:"downloadLocation"`
		FilesAnalyzed    bool          `json:"filesAnalyzed"`
		LicenseConcluded string        `json:"licenseConcluded"`
		LicenseDeclared  string        `json:"licenseDeclared"`
		CopyrightText    string        `json:"copyrightText"`
		SourceInfo       string        `json:"sourceInfo,omitempty"`
		Purpose          string        `json:"primaryPackagePurpose,omitempty"`
		Checksums        []checksum    `json:"checksums,omitempty"`
		ExternalRefs     []externalRef `json:"externalRefs"`
	}
	checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	externalRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

// MediaType is that of the document in a registry.
const MediaType = "application/spdx+json"

const unknown = "NOASSERTION"

// SPDX is the document about an image. Its time is the epoch, since a document
// of today and one of tomorrow about one image have to be one.
func SPDX(about About, packages []Package) ([]byte, error) {
	base := about.Name[strings.LastIndexByte(about.Name, '/')+1:]
	image := newPackage("SPDXRef-Image", about.Name, about.Digest)
	image.Purpose = "CONTAINER"
	image.Checksums = []checksum{{"SHA256", strings.TrimPrefix(about.Digest, "sha256:")}}
	_, arch, _ := strings.Cut(about.Platform, "/")
	image.ExternalRefs = []externalRef{{"PACKAGE-MANAGER", "purl", purl("oci", base, about.Digest) + "?arch=" + strings.ReplaceAll(arch, "/", "%2F")}}
	d := document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: about.Name,
		DocumentNamespace: "https://kdev.dev/spdx/" + about.Name + "/" + strings.TrimPrefix(about.Digest, "sha256:"),
		CreationInfo:      creationInfo{Created: "1970-01-01T00:00:00Z", Creators: []string{"Tool: " + about.Tool}},
		Packages:          []spdxPackage{image},
		Relationships:     []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", image.SPDXID}},
	}
	for i, p := range packages {
		s := newPackage(fmt.Sprintf("SPDXRef-Package-%d", i+1), p.Name, p.Version)
		s.SourceInfo = "found in /" + p.From
		s.ExternalRefs = []externalRef{{"PACKAGE-MANAGER", "purl", p.URL}}
		d.Packages = append(d.Packages, s)
		d.Relationships = append(d.Relationships, relationship{image.SPDXID, "CONTAINS", s.SPDXID})
	}
	raw, err := json.MarshalIndent(d, "", "  ")
	return append(raw, '\n'), err
}

func newPackage(id, name, version string) spdxPackage {
	return spdxPackage{
		SPDXID: id, Name: name, VersionInfo: version, DownloadLocation: unknown,
		LicenseConcluded: unknown, LicenseDeclared: unknown, CopyrightText: unknown,
	}
}
