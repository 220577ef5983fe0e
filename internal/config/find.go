package config

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/kdev-io/kdev/internal/problem"
)

// FileName is the name of the configuration, LocalName that of a person's own
// wishes on top of it.
const (
	FileName  = "kdev.yaml"
	LocalName = "kdev.local.yaml"
	envName   = ".env"
)

// Find gives the root of the project that dir is in: the nearest folder with
// a kdev.yaml, looked for upwards as git looks for its own. Without any, it
// is the nearest folder, up to the top of the git work tree, in which
// manifests and a Dockerfile are found. The Problem is config-missing.
func Find(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, d := range upwards(dir) {
		if isFile(d, FileName) {
			return d, nil
		}
	}
	for _, d := range upwards(dir) {
		if detectable(d) {
			return d, nil
		}
		// Above the work tree, and anywhere outside git, a folder is somebody else's.
		if !inWorkTree(filepath.Dir(d)) {
			break
		}
	}
	return "", missing(dir)
}

func detectable(dir string) bool {
	sources, _ := detectManifests(dir)
	return len(sources) > 0 && len(detectServices(dir, "app")) > 0
}

func missing(dir string) *problem.Problem {
	hint := "change to the project's folder, or write a " + FileName + " with the line: manifests: {yaml: [FILES]}"
	if _, ok := firstOf(dir, "kdev.yml", "kdev.json", "Kdev.yaml"); ok {
		hint = "rename it to " + FileName
	}
	p := &problem.Problem{
		Class:   problem.Usage,
		Code:    "config-missing",
		Summary: "no " + FileName + " here or in any folder above, and no project to detect (manifests and a Dockerfile)",
		Where:   dir,
		Hint:    hint,
	}
	if name, ok := firstOf(dir, "kdev.yml", "kdev.json", "Kdev.yaml"); ok {
		p.Summary = "no " + FileName + ", but a " + name
	}
	return p
}

func firstOf(dir string, names ...string) (string, bool) {
	i := slices.IndexFunc(names, func(n string) bool { return isFile(dir, n) })
	if i < 0 {
		return "", false
	}
	return names[i], true
}

func upwards(dir string) []string {
	dirs := []string{dir}
	for up := filepath.Dir(dir); up != dir; up = filepath.Dir(dir) {
		dirs = append(dirs, up)
		dir = up
	}
	return dirs
}

func inWorkTree(dir string) bool {
	return slices.ContainsFunc(upwards(dir), func(d string) bool {
		_, err := os.Lstat(filepath.Join(d, ".git"))
		return err == nil
	})
}
