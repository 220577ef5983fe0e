package engine

import (
	"errors"
	"testing"
)

func TestReleases(t *testing.T) {
	for version, want := range map[string]int{
		"v0.12.3": 12, "v0.11.7-0.20230525183624-798ad6b0ce9f-moby": 11, "0.20.0+moby": 20, "v1.2.0": 1000, "": 0, "v0.0.0+unknown": 0, "moby": 0, "x.y.z": 0,
	} {
		if got := release(version); got != want {
			t.Errorf("BuildKit %s is release %d, want %d", version, got, want)
		}
	}
	for version, want := range map[string]int{"20.10.24": 0, "23.0.1": 0, "24.0.9": 0, "25.0.0": 12, "27.5.1": 12, "28.0.0": 20, "29.1": 20, "dev": 0, "": 0, "20260101.1": 0} {
		if got := releaseIn(version); got != want {
			t.Errorf("Docker %s has release %d, want %d", version, got, want)
		}
	}
}

func TestAFrontendThatIsNotThereHasALine(t *testing.T) {
	req := Request{text: []byte("# syntax=example.invalid/frontend:1\nFROM busybox\n")}
	failed := &step{name: "resolve image config for docker-image://example.invalid/frontend:1"}
	if line := place(req, errors.New("no such host"), failed); line != 1 {
		t.Errorf("line %d, want 1", line)
	}
	if line := place(req, errors.New("no such host"), nil); line != 0 {
		t.Errorf("line %d for a failure that does not name it", line)
	}
}
