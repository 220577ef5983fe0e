package config

import (
	"os"
	"path/filepath"
	"testing"
)

// A pipeline that has checked out one project builds it, whatever that includes.
func TestLoadAlone(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, FileName), []byte("include: [../absent]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(root, LoadOptions{ManifestsOptional: true}); err == nil {
		t.Error("../absent is absent")
	}
	if _, err := Load(root, LoadOptions{ManifestsOptional: true, Alone: true}); err != nil {
		t.Error(err)
	}
}
