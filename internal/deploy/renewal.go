package deploy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// A Renewal is a volume of a workload's pods whose files the kubelet is about to renew, in
// each pod in its own time.
type Renewal struct {
	Workload  Ref
	Container string
	Folder    string            // where it is mounted
	Files     map[string]string // by path in it: SHA-256, in hex, of what comes; "" for a file that goes
}

// renewalsOf are the volumes of a workload that hold changed keys, by "Kind/name", of some
// ConfigMaps and Secrets.
func renewalsOf(o *Object, changed map[string]map[string]bool, data []*Object) (all []Renewal) {
	fields, _, _ := unstructured.NestedMap(o.Object, podSpecPath(o)...)
	var spec corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec) != nil {
		return nil
	}
	files := map[string]map[string]string{} // by volume
	for _, v := range spec.Volumes {
		files[v.Name] = map[string]string{}
		eachData(v, func(ref Ref, items []corev1.KeyToPath) {
			from := objectIn(data, ref)
			if from == nil {
				return
			}
			for key := range changed[ref.String()] {
				sum := contentSum(from, key)
				if len(items) == 0 {
					files[v.Name][key] = sum
				}
				for _, i := range items {
					if i.Key == key {
						files[v.Name][i.Path] = sum
					}
				}
			}
		})
	}
	for _, c := range spec.Containers {
		for _, m := range c.VolumeMounts {
			if len(files[m.Name]) > 0 && m.SubPath == "" && m.SubPathExpr == "" {
				all = append(all, Renewal{RefOf(o), c.Name, m.MountPath, files[m.Name]})
			}
		}
	}
	return all
}

// eachData calls fn for each ConfigMap and Secret whose keys are files of a volume, all of
// them where there are no items.
func eachData(v corev1.Volume, fn func(ref Ref, items []corev1.KeyToPath)) {
	if s := v.ConfigMap; s != nil {
		fn(Ref{"ConfigMap", s.Name}, s.Items)
	}
	if s := v.Secret; s != nil {
		fn(Ref{"Secret", s.SecretName}, s.Items)
	}
	if v.Projected == nil {
		return
	}
	for _, source := range v.Projected.Sources {
		if s := source.ConfigMap; s != nil {
			fn(Ref{"ConfigMap", s.Name}, s.Items)
		}
		if s := source.Secret; s != nil {
			fn(Ref{"Secret", s.Name}, s.Items)
		}
	}
}

func objectIn(objects []*Object, ref Ref) *Object {
	for _, o := range objects {
		if isData(o) && RefOf(o) == ref {
			return o
		}
	}
	return nil
}

// contentSum is the SHA-256 of what a key of a ConfigMap or Secret holds, "" where there is
// no such key.
func contentSum(o *Object, key string) string {
	content, ok, _ := unstructured.NestedString(o.Object, "data", key)
	encoded := ok && o.GetKind() == "Secret"
	if !ok {
		content, encoded, _ = unstructured.NestedString(o.Object, "binaryData", key)
		ok = encoded
	}
	if !ok {
		return ""
	}
	bytes := []byte(content)
	if encoded {
		decoded, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return "" // the API server has refused it
		}
		bytes = decoded
	}
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}
