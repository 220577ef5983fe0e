package deploy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// Related picks, in their order, the objects that belong to some workloads: these
// themselves, what they read (ConfigMaps, Secrets, claims, their ServiceAccount),
// the Services that select their pods, and what points at any of these: Ingresses,
// autoscalers, disruption budgets.
func Related(objects []*Object, workloads []Ref) []*Object {
	picked := map[*Object]bool{}
	refs := map[Ref]bool{} // of what was picked, or is read by it
	var templates []labels.Set
	for _, o := range objects {
		if !IsWorkload(o) || !slices.Contains(workloads, RefOf(o)) {
			continue
		}
		picked[o], refs[RefOf(o)] = true, true
		for _, r := range reads(o) {
			refs[r] = true
		}
		templates = append(templates, podLabels(o))
	}
	selects := func(o *Object, path ...string) bool {
		selector, ok, _ := unstructured.NestedStringMap(o.Object, path...)
		if !ok || len(selector) == 0 {
			return false
		}
		return slices.ContainsFunc(templates, func(set labels.Set) bool { return labels.SelectorFromSet(selector).Matches(set) })
	}
	for _, o := range objects {
		switch {
		case refs[RefOf(o)],
			o.GetKind() == "Service" && selects(o, "spec", "selector"),
			o.GetKind() == "PodDisruptionBudget" && selects(o, "spec", "selector", "matchLabels"):
			picked[o], refs[RefOf(o)] = true, true
		}
	}
	for _, o := range objects {
		switch o.GetKind() {
		case "Ingress", "HTTPRoute", "HorizontalPodAutoscaler", "ServiceMonitor":
			picked[o] = picked[o] || pointsAt(o, refs)
		}
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o *Object) bool { return !picked[o] })
}

// podLabels are the labels of the pods that a workload makes.
func podLabels(o *Object) labels.Set {
	path := podSpecPath(o)
	set, _, _ := unstructured.NestedStringMap(o.Object, append(slices.Clone(path[:len(path)-1]), "metadata", "labels")...)
	return set
}

// reads are the objects that a workload's pods read.
func reads(o *Object) []Ref {
	fields, _, _ := unstructured.NestedMap(o.Object, podSpecPath(o)...)
	var spec corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec) != nil {
		return nil // the API server says best what is wrong with it
	}
	refs := dataRefs(&spec)
	for _, v := range spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			refs = append(refs, Ref{"PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName})
		}
	}
	if spec.ServiceAccountName != "" {
		refs = append(refs, Ref{"ServiceAccount", spec.ServiceAccountName})
	}
	return refs
}

// pointsAt says whether an object names one of refs: a backend, a scale target.
func pointsAt(o *Object, refs map[Ref]bool) bool {
	found := false
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			name, _ := v["name"].(string)
			if name == "" {
				name, _ = v["serviceName"].(string)
			}
			kind, _ := v["kind"].(string)
			if kind == "" {
				kind = "Service"
			}
			found = found || name != "" && refs[Ref{kind, name}]
			for key, below := range v {
				if key != "metadata" {
					walk(below)
				}
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(o.Object)
	return found
}
