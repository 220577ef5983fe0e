package app

import (
	"maps"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/config"
)

// GeneratedAnnotation is on a Secret of which kdev made up values, and lists their
// keys: they are not made up again while the Secret is there, and `down` keeps it as
// long as a volume that they may lock.
const GeneratedAnnotation = "kdev.dev/generated"

// secret is a Secret whose values are where they come from. Those of a file of
// variables without keys are known when it is read.
func secret(project string, s config.Secret) object {
	values := object{}
	for _, key := range s.Keys {
		switch {
		case s.EnvFile != "":
			values[key] = Placeholder("from " + s.EnvFile)
		default:
			values[key] = Placeholder("from the command of kdev.yaml")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Files)) {
		values[key] = Placeholder("from " + s.Files[key])
	}
	m := meta(project, s.Name)
	if len(s.Generate) > 0 {
		m["annotations"] = object{GeneratedAnnotation: strings.Join(slices.Sorted(slices.Values(s.Generate)), ",")}
		for _, key := range s.Generate {
			values[key] = Placeholder("made up by kdev, and kept in the cluster")
		}
	}
	o := object{"apiVersion": "v1", "kind": "Secret", "metadata": m, "stringData": values}
	if s.Type != "" {
		o["type"] = s.Type
	}
	return o
}

// Placeholder stands in a render in the place of a value that is put in when the
// Secret is applied.
func Placeholder(from string) string { return "(" + from + ")" }
