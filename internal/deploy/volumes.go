package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// A Declared is one way in which an object differs from what its manifest says,
// besides the image itself, because the project asked for it or the dev image
// needs it.
type Declared struct {
	Object Ref
	Field  string // "spec.template.spec.volumes"
	Why    string
}

// seedTo is where an init container sees the volumes that it fills.
const seedTo = "/.kdev/seed/"

// volumes mounts a writable volume over each of the image's folders that the
// project wants so, in a container, and fills it before from the image. field is
// the container's.
func (in *Injection) volumes(o *Object, pod, c map[string]any, field string, im Image) {
	seed := map[string]any{"name": volumeName("kdev-seed", c["name"]), "image": im.Ref}
	for _, key := range []string{"securityContext", "resources", "imagePullPolicy"} {
		if v, ok := c[key]; ok {
			seed[key] = copyOf(v)
		}
	}
	command := []any{im.Prefix[0], "seed"}
	var mounts []any
	own, _ := c["volumeMounts"].([]any)
	for i, dir := range im.Volumes {
		if mounted(own, dir) {
			continue // the manifest has one there
		}
		name := volumeName("kdev-sync", c["name"], dir)
		at := fmt.Sprint(seedTo, i)
		command = append(command, dir, at)
		mounts = append(mounts, map[string]any{"name": name, "mountPath": at})
		own = append(own, map[string]any{"name": name, "mountPath": dir})
		all, _ := pod["volumes"].([]any)
		pod["volumes"] = append(all, map[string]any{"name": name, "emptyDir": map[string]any{}})
		in.Declared = append(in.Declared, Declared{RefOf(o), field + ".volumeMounts", "sync: volume: true mounts a writable copy of " + dir})
	}
	if len(mounts) == 0 {
		return
	}
	c["volumeMounts"] = own
	seed["command"], seed["volumeMounts"] = command, mounts
	inits, _ := pod["initContainers"].([]any)
	// First: a sidecar of the same image may use it too.
	pod["initContainers"] = append([]any{seed}, inits...)
}

// mounted says whether something is mounted at dir.
func mounted(mounts []any, dir string) bool {
	return slices.ContainsFunc(mounts, func(m any) bool {
		mount, _ := m.(map[string]any)
		return mount["mountPath"] == dir || mount["mountPath"] == dir+"/"
	})
}

// volumeName is a name of at most 63 letters that the same parts always give.
func volumeName(prefix string, parts ...any) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(parts...)))
	return prefix + "-" + hex.EncodeToString(sum[:5])
}

// copyOf is a deep copy of a value of an unstructured object.
func copyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for k, e := range out {
			out[k] = copyOf(e)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i, e := range out {
			out[i] = copyOf(e)
		}
		return out
	}
	return v
}
