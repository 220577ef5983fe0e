package deploy

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// A podRead is one place where the pods of a workload need another object.
type podRead struct {
	kind, name string
	keys       []string // that have to be there
	field      string
	near       string // a word that stands on its line in the manifest, or on the one before
	code       string // of the problem when it is not there
}

// podReads are the places where the pods of a workload need a Secret, a ConfigMap, a
// claim or a ServiceAccount. Without one of them they do not start.
func podReads(o *Object) []podRead {
	path := podSpecPath(o)
	if path == nil {
		return nil
	}
	fields, _, _ := unstructured.NestedMap(o.Object, path...)
	var spec corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec) != nil {
		return nil // the API server says best what is wrong with it
	}
	r := reader{top: strings.Join(path, ".")}
	r.containers("initContainers", spec.InitContainers)
	r.containers("containers", spec.Containers)
	r.volumes(spec.Volumes)
	if name := spec.ServiceAccountName; name != "default" {
		r.add("ServiceAccount", name, nil, "serviceAccountName")
	}
	return r.found
}

// A reader collects what a pod spec reads.
type reader struct {
	top   string // path of the pod spec
	found []podRead
}

// readKinds says how the fields of a kind are called, and what is wrong without it.
var readKinds = map[string]struct{ near, code string }{
	"Secret":                {"secret", "missing-secret"},
	"ConfigMap":             {"configmap", "missing-configmap"},
	"PersistentVolumeClaim": {"claim", "missing-claim"},
	"ServiceAccount":        {"serviceaccount", "missing-serviceaccount"},
}

func (r *reader) add(kind, name string, optional *bool, field string, keys ...string) {
	if name != "" && (optional == nil || !*optional) {
		r.found = append(r.found, podRead{kind, name, keys, r.top + "." + field, readKinds[kind].near, readKinds[kind].code})
	}
}

func (r *reader) containers(list string, containers []corev1.Container) {
	for i, c := range containers {
		for j, from := range c.EnvFrom {
			at := fmt.Sprintf("%s[%d].envFrom[%d].", list, i, j)
			if s := from.SecretRef; s != nil {
				r.add("Secret", s.Name, s.Optional, at+"secretRef")
			}
			if s := from.ConfigMapRef; s != nil {
				r.add("ConfigMap", s.Name, s.Optional, at+"configMapRef")
			}
		}
		for j, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			at := fmt.Sprintf("%s[%d].env[%d].valueFrom.", list, i, j)
			if s := e.ValueFrom.SecretKeyRef; s != nil {
				r.add("Secret", s.Name, s.Optional, at+"secretKeyRef", s.Key)
			}
			if s := e.ValueFrom.ConfigMapKeyRef; s != nil {
				r.add("ConfigMap", s.Name, s.Optional, at+"configMapKeyRef", s.Key)
			}
		}
	}
}

func (r *reader) volumes(volumes []corev1.Volume) {
	for i, v := range volumes {
		at := fmt.Sprintf("volumes[%d].", i)
		if s := v.Secret; s != nil {
			r.add("Secret", s.SecretName, s.Optional, at+"secret", keysOf(s.Items)...)
		}
		if s := v.ConfigMap; s != nil {
			r.add("ConfigMap", s.Name, s.Optional, at+"configMap", keysOf(s.Items)...)
		}
		if c := v.PersistentVolumeClaim; c != nil {
			r.add("PersistentVolumeClaim", c.ClaimName, nil, at+"persistentVolumeClaim")
		}
		if v.Projected == nil {
			continue
		}
		for j, source := range v.Projected.Sources {
			at := fmt.Sprintf("%sprojected.sources[%d].", at, j)
			if s := source.Secret; s != nil {
				r.add("Secret", s.Name, s.Optional, at+"secret", keysOf(s.Items)...)
			}
			if s := source.ConfigMap; s != nil {
				r.add("ConfigMap", s.Name, s.Optional, at+"configMap", keysOf(s.Items)...)
			}
		}
	}
}

func keysOf(items []corev1.KeyToPath) (keys []string) {
	for _, item := range items {
		keys = append(keys, item.Key)
	}
	return keys
}
