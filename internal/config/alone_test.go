package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/checkout"
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

// A project that is included may be a commit of another repository: whoever loads says
// where that is. What it includes itself is relative to it.
func TestIncludeOfACommit(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	root, other := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
	write(root, FileName, "name: shop\ninclude: [\"https://example.com/billing.git@"+commit+"//api\"]\nmanifests: {yaml: [k8s.yaml]}\n")
	write(root, "k8s.yaml", service)
	write(filepath.Join(other, "api"), FileName, "name: billing\ninclude: [../mail]\nmanifests: {yaml: [k8s.yaml]}\n")
	write(filepath.Join(other, "api"), "k8s.yaml", service)
	write(filepath.Join(other, "mail"), FileName, "name: mail\nmanifests: {yaml: [k8s.yaml]}\n")
	write(filepath.Join(other, "mail"), "k8s.yaml", service)
	var asked []checkout.Address
	fetch := func(a checkout.Address) (string, error) {
		asked = append(asked, a)
		return filepath.Join(other, a.Folder), nil
	}
	p, err := Load(root, LoadOptions{Fetch: fetch})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Include) != 2 || p.Include[0].Project.Name != "billing" || p.Include[1].Project.Name != "mail" {
		t.Errorf("%+v", p.Include)
	}
	if want := (checkout.Address{URL: "https://example.com/billing.git", Commit: commit, Folder: "api"}); len(asked) != 1 || asked[0] != want {
		t.Errorf("asked for %+v", asked)
	}
	for want, fetch := range map[string]func(checkout.Address) (string, error){
		"kdev.yaml:2 config-include":  nil,
		"kdev.yaml:2 checkout-failed": func(checkout.Address) (string, error) { return "", errors.New("no network") },
		"kdev.yaml:2 config-include ": func(checkout.Address) (string, error) { return t.TempDir(), nil },
	} {
		var ps Problems
		if _, err := Load(root, LoadOptions{Fetch: fetch}); !errors.As(err, &ps) || len(ps) != 1 || ps[0].Where+" "+ps[0].Code != strings.TrimSpace(want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := Load(root, LoadOptions{Alone: true}); err != nil {
		t.Errorf("alone: %v", err)
	}
}
