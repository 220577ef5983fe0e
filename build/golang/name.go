package golang

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Name is what the binary is called: the last element of the main package's
// path, or where that is the folder of p itself, of its import path without a
// major version, as `go build` has it. A checkout's folder has any name, and an
// image that was built in one is used in all. Only a program without a module
// is called as its folder.
func (p Program) Name() string {
	if name := path.Base(path.Clean(filepath.ToSlash(p.Main))); name != "." && name != "/" && name != ".." {
		return name
	}
	dir := filepath.Join(p.Dir, filepath.FromSlash(p.Main))
	if name := path.Base(withoutMajor(importPath(dir))); name != "." && name != "/" {
		return name
	}
	return filepath.Base(dir)
}

// importPath is that of the package in a folder; empty: it is in no module.
func importPath(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil {
			rel, err := filepath.Rel(at, dir)
			module := modulePath(string(text))
			if err != nil || module == "" {
				return ""
			}
			return path.Join(module, filepath.ToSlash(rel))
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// modulePath is what a go.mod names; see https://go.dev/ref/mod#go-mod-file-module.
func modulePath(gomod string) string {
	for line := range strings.Lines(gomod) {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		if len(words) != 2 || words[0] != "module" {
			continue
		}
		if name, err := strconv.Unquote(words[1]); err == nil {
			return name
		}
		return words[1]
	}
	return ""
}

var major = regexp.MustCompile(`^v([2-9]|[1-9][0-9]+)$`)

// withoutMajor cuts /v2 and the like off.
func withoutMajor(name string) string {
	if dir, last := path.Split(name); dir != "" && major.MatchString(last) {
		return path.Clean(dir)
	}
	return name
}
