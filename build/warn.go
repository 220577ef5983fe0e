package build

import (
	"fmt"
	"path"
	"strings"
)

// warn tells of files that hardly anybody wants in an image, before it is built: once
// they are in a layer, they stay in the registry. It does so for an image that was
// found, too, which may be on its way to another registry.
func warn(spec Spec, inputs []Input, progress Progress) error {
	if spec.Dockerfile == "" || progress == nil {
		return nil // only a COPY takes in what nobody named
	}
	plan, err := load(spec)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, in := range inputs {
		what := sensitive(in.Path)
		if what == "" || told[what] || in.Mode.IsDir() {
			continue
		}
		told[what] = true
		v := plan.Explain(in.Path)
		where := v.File
		if v.Line > 0 {
			where = fmt.Sprintf("%s:%d", v.File, v.Line)
		}
		progress.send(spec, Event{Warning: fmt.Sprintf("%s: the image takes in %s, %s; .dockerignore leaves it out", where, in.Path, what)})
	}
	return nil
}

// warnOutputs tells the same of what a command has made: that is known when it has.
func warnOutputs(spec Spec, outputs []Output, progress Progress) {
	if spec.Command == nil {
		return
	}
	told := map[string]bool{}
	for _, out := range outputs {
		what := sensitive(out.Path)
		if what == "" || told[what] || out.Mode.IsDir() {
			continue
		}
		told[what] = true
		where := spec.Places["output"]
		if where != "" {
			where += ": "
		}
		progress.send(spec, Event{Warning: fmt.Sprintf("%sthe image takes in %s, %s; the command should not leave it in %s", where, out.Path, what, spec.Command.Output)})
	}
}

// sensitive says what is wrong with a file of that name in an image, or "".
func sensitive(p string) string {
	dir, base := path.Split(p)
	switch {
	case strings.HasPrefix(p, ".git/") || strings.Contains(dir, "/.git/"):
		return "the history of the repository"
	case base == ".env" || strings.HasPrefix(base, ".env.") && !strings.Contains(base, "example") && !strings.Contains(base, "sample") && !strings.Contains(base, "template"):
		return "which holds settings of one machine and often passwords"
	case base == "id_rsa", base == "id_ecdsa", base == "id_ed25519", base == "id_dsa", strings.HasSuffix(base, ".key"), strings.HasSuffix(base, ".p12"), strings.HasSuffix(base, ".pfx"):
		return "a private key by its name"
	case strings.HasSuffix(dir, ".aws/") && base == "credentials", strings.HasSuffix(dir, ".docker/") && base == "config.json", base == ".netrc", base == ".git-credentials":
		return "which holds credentials"
	}
	return ""
}
