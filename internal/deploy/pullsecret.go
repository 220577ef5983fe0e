package deploy

import (
	"cmp"
	"encoding/base64"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// PullSecretName is the Secret with which pods pull private images of others:
// one in each namespace that has such pods, part of the set like any object.
const PullSecretName = "kdev-pull"

// A PullSecret is a person's own logins for registries.
type PullSecret struct {
	Config []byte          // docker's configuration, for .dockerconfigjson
	Refs   map[string]bool // images that cannot be pulled without it
}

// AddPullSecret lets the workloads that name such images pull with the Secret,
// and adds it. It writes to objects; without such an image nothing changes. A
// workload with pull secrets of its own keeps them, and one without keeps those of its
// ServiceAccount in objects: the cluster gives these only to pods that name none.
func AddPullSecret(objects []*Object, namespace string, p PullSecret) []*Object {
	namespaces := map[string]bool{}
	for _, o := range objects {
		var pod map[string]any
		eachPodContainer(o, func(spec, c map[string]any, _, _ string) {
			if ref, _ := c["image"].(string); p.Refs[ref] {
				pod = spec
			}
		})
		if pod == nil {
			continue
		}
		own, _ := pod["imagePullSecrets"].([]any)
		if len(own) == 0 {
			own = accountSecrets(objects, pod, cmp.Or(o.GetNamespace(), namespace), namespace)
		}
		named := slices.ContainsFunc(own, func(s any) bool {
			m, _ := s.(map[string]any)
			return m["name"] == PullSecretName
		})
		if !named {
			pod["imagePullSecrets"] = append(slices.Clone(own), map[string]any{"name": PullSecretName})
		}
		namespaces[cmp.Or(o.GetNamespace(), namespace)] = true
	}
	for _, o := range objects {
		if isSecret(o.Unstructured) && o.GetName() == PullSecretName {
			delete(namespaces, cmp.Or(o.GetNamespace(), namespace)) // the project has one of that name: it is what pods get
		}
	}
	for _, ns := range slices.Sorted(maps.Keys(namespaces)) {
		objects = append(objects, &Object{Origin: "the login of this machine (docker login)", Unstructured: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
			"metadata": map[string]any{"name": PullSecretName, "namespace": ns},
			"data":     map[string]any{".dockerconfigjson": base64.StdEncoding.EncodeToString(p.Config)},
		}}})
	}
	return objects
}

// accountSecrets are the pull secrets of a pod's ServiceAccount, where objects have it.
func accountSecrets(objects []*Object, pod map[string]any, in, namespace string) []any {
	account, _ := pod["serviceAccountName"].(string)
	for _, o := range objects {
		if o.GetKind() == "ServiceAccount" && o.GetName() == cmp.Or(account, "default") && cmp.Or(o.GetNamespace(), namespace) == in {
			secrets, _ := o.Object["imagePullSecrets"].([]any)
			return secrets
		}
	}
	return nil
}
