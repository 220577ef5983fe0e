package registry

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestStaleNodeImages(t *testing.T) {
	a, b, c, d := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64), "sha256:"+strings.Repeat("c", 64), "sha256:"+strings.Repeat("d", 64)
	images := strings.Join([]string{
		"REF TYPE DIGEST SIZE PLATFORMS LABELS",
		"docker.io/library/redis:7 application/vnd.oci.image.manifest.v1+json " + d + " 1 MiB linux/amd64 -",
		"localhost:5001/shop/web:a@" + a + " application/vnd.oci.image.manifest.v1+json " + a + " 1 MiB linux/amd64 -",
		"localhost:5001/shop/web@" + a + " x " + a + " 1 MiB linux/amd64 -",
		"sha256:" + strings.Repeat("1", 64) + " x " + a + " 1 MiB linux/amd64 -",
		"localhost:5001/shop/web@" + b + " x " + b + " 1 MiB linux/amd64 -",
		"sha256:" + strings.Repeat("2", 64) + " x " + b + " 1 MiB linux/amd64 -",
		"localhost:5001/shop/web@" + c + " x " + c + " 1 MiB linux/amd64 -",
		"localhost:50010/other@" + d + " x " + d + " 1 MiB linux/amd64 -",
		"",
	}, "\n")
	// Containers name images by configuration ID or by reference.
	containers := "CONTAINER IMAGE RUNTIME\nx sha256:" + strings.Repeat("2", 64) + " io.containerd.runc.v2\n"
	e := &Endpoint{Host: "localhost:5001"}
	got := slices.Sorted(maps.Keys(e.stale(images, containers, map[string]bool{c: true})))
	if !slices.Equal(got, []string{a}) {
		t.Errorf("%q may go, want only %s", got, a)
	}
}
