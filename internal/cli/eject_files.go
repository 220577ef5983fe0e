package cli

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/deploy"
)

// An ejectFile is a file below the folder of --to.
type ejectFile struct{ name, text string }

// A secretKeys is a Secret whose values kdev made up: it stays in kdev.yaml.
type secretKeys struct {
	name string
	keys []string
	in   []string // environments
}

// ejection makes the files: the base is the first environment, each overlay patches what
// differs from it.
func ejection(all []rendering, parts ejectParts) ([]ejectFile, []secretKeys, error) {
	w := &ejectWriter{}
	base := w.picked(all[0], parts)
	if err := w.folder("base", base, nil, nil); err != nil {
		return nil, nil, err
	}
	for _, r := range all {
		own := w.picked(r, parts)
		var added []*deploy.Object
		var patches []map[string]any
		for _, o := range own {
			was := find(base, deploy.RefOf(o))
			if was == nil {
				added = append(added, o)
				continue
			}
			ops := patchOps("", was.Object, o.Object)
			if len(ops) == 0 {
				continue
			}
			text, err := yaml.Marshal(ops)
			if err != nil {
				return nil, nil, fmt.Errorf("writing %s: %w", deploy.RefOf(o), err)
			}
			patches = append(patches, map[string]any{"target": map[string]any{"kind": o.GetKind(), "name": o.GetName()}, "patch": string(text)})
		}
		for _, was := range base {
			if find(own, deploy.RefOf(was)) == nil {
				text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s}\n$patch: delete\n", was.GetAPIVersion(), was.GetKind(), was.GetName())
				patches = append(patches, map[string]any{"patch": text})
			}
		}
		if err := w.folder(path.Join("overlays", r.environment), added, []string{"../../base"}, patches); err != nil {
			return nil, nil, err
		}
	}
	return w.files, w.secrets, nil
}

type ejectWriter struct {
	files   []ejectFile
	secrets []secretKeys
}

// picked are the objects of some parts, without their Secrets, which are noted.
func (w *ejectWriter) picked(r rendering, parts ejectParts) []*deploy.Object {
	var out []*deploy.Object
	for _, o := range r.objects {
		switch keys := o.Generates(); {
		case o.Part == "" || !slices.Contains(parts.all, o.Part):
		case len(keys) == 0:
			out = append(out, o)
		default:
			i := slices.IndexFunc(w.secrets, func(s secretKeys) bool { return s.name == o.GetName() })
			if i < 0 {
				i = len(w.secrets)
				w.secrets = append(w.secrets, secretKeys{name: o.GetName(), keys: keys})
			}
			if s := &w.secrets[i]; !slices.Contains(s.in, r.environment) {
				s.in = append(s.in, r.environment)
			}
		}
	}
	return out
}

func find(objects []*deploy.Object, ref deploy.Ref) *deploy.Object {
	for _, o := range objects {
		if deploy.RefOf(o) == ref {
			return o
		}
	}
	return nil
}

// folder writes a kustomization, and a file for each part.
func (w *ejectWriter) folder(dir string, objects []*deploy.Object, resources []string, patches []map[string]any) error {
	texts := map[string]string{}
	for _, o := range objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return fmt.Errorf("writing %s: %w", deploy.RefOf(o), err)
		}
		if texts[o.Part] != "" {
			texts[o.Part] += "---\n"
		}
		texts[o.Part] += string(text)
	}
	for _, part := range slices.Sorted(maps.Keys(texts)) {
		w.files = append(w.files, ejectFile{path.Join(dir, part+".yaml"), texts[part]})
		resources = append(resources, part+".yaml")
	}
	k := map[string]any{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
	if patches != nil {
		k["patches"] = patches
	}
	text, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	w.files = append(w.files, ejectFile{path.Join(dir, "kustomization.yaml"), string(text)})
	return nil
}

// patchOps are the operations of a JSON patch (RFC 6902) that make b of a.
func patchOps(at string, a, b any) []map[string]any {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if aok && bok {
		var ops []map[string]any
		keys := slices.Collect(maps.Keys(am))
		for key := range bm {
			if _, ok := am[key]; !ok {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			below := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
			was, had := am[key]
			is, has := bm[key]
			switch {
			case !has:
				ops = append(ops, map[string]any{"op": "remove", "path": below})
			case !had:
				ops = append(ops, map[string]any{"op": "add", "path": below, "value": is})
			default:
				ops = append(ops, patchOps(below, was, is)...)
			}
		}
		return ops
	}
	al, aok := a.([]any)
	bl, bok := b.([]any)
	if aok && bok && len(al) == len(bl) {
		var ops []map[string]any
		for i := range al {
			ops = append(ops, patchOps(fmt.Sprintf("%s/%d", at, i), al[i], bl[i])...)
		}
		return ops
	}
	return []map[string]any{{"op": "replace", "path": at, "value": b}}
}
