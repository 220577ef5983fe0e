package deploy

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// restarter is the field manager of what replaces pods without a change of the manifests:
// another than that of the applies, which would take it away again.
const restarter = "kdev-restart"

// Restart replaces the pods of a Deployment, StatefulSet or DaemonSet of the project's
// namespace, one after the other, by the annotation that kubectl uses.
func (d *Deployer) Restart(ctx context.Context, w Ref) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, d.now().Format(time.RFC3339Nano)) // two in a second are two
	apps, ns, o := d.client.Core.AppsV1(), d.options.Namespace, metav1.PatchOptions{FieldManager: restarter}
	var now metav1.Object
	var err error
	switch w.Kind {
	case "Deployment":
		now, err = apps.Deployments(ns).Patch(ctx, w.Name, types.StrategicMergePatchType, patch, o)
	case "StatefulSet":
		now, err = apps.StatefulSets(ns).Patch(ctx, w.Name, types.StrategicMergePatchType, patch, o)
	case "DaemonSet":
		now, err = apps.DaemonSets(ns).Patch(ctx, w.Name, types.StrategicMergePatchType, patch, o)
	}
	if err != nil {
		return d.apiProblem(err, w.String(), "")
	}
	if now != nil {
		d.noteVersion(workloadKey(w), version{now.GetUID(), now.GetGeneration()}) // not ready before these pods are
	}
	return nil
}

// reroll replaces the pods of workloads that have read, when they started, what has
// changed since: variables, and files mounted by subPath, which the kubelet never renews.
// Each is one line, and so is what the kubelet renews by itself. A workload that was
// refused, or that reads what was, is owed its new pods until that is mended. data are all
// objects of the Apply.
func (d *Deployer) reroll(ctx context.Context, workloads, data []*Object, result *Applied) error {
	data = slices.DeleteFunc(slices.Clone(data), d.elsewhere)
	var failed []error
	for _, o := range workloads {
		if !isRerolled(o) || d.elsewhere(o) || result.refused[RefOf(o)] || slices.ContainsFunc(reads(o), func(r Ref) bool { return result.refused[r] }) {
			continue
		}
		news := d.data.news(RefOf(o))
		if len(news) == 0 {
			continue
		}
		started, mounted := readsOf(o, news)
		switch {
		case len(started) > 0:
			if err := d.Restart(ctx, RefOf(o)); err != nil {
				failed = append(failed, err)
				continue
			}
			result.Rolled = append(result.Rolled, RefOf(o).String()+" gets new pods: they read "+strings.Join(started, ", ")+" when they start")
		case len(mounted) > 0:
			result.Rolled = append(result.Rolled, RefOf(o).String()+" mounts "+strings.Join(mounted, ", ")+": the kubelet renews the files within a minute or two")
			result.Renewals = append(result.Renewals, renewalsOf(o, news, data)...)
		}
		d.data.settled(RefOf(o))
	}
	return errors.Join(failed...)
}

// isRerolled says whether a workload's pods are replaced: a Job has done its work, and a
// bare Pod is nobody's to replace.
func isRerolled(o *Object) bool {
	switch o.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}, schema.GroupKind{Group: "apps", Kind: "StatefulSet"}, schema.GroupKind{Group: "apps", Kind: "DaemonSet"}:
		return true
	}
	return false
}

// readsOf says what of changed data, keys by "Kind/name", the pods of a workload read once,
// when they start, and what they have mounted, which is renewed.
func readsOf(o *Object, changed map[string]map[string]bool) (started, mounted []string) {
	fields, _, _ := unstructured.NestedMap(o.Object, podSpecPath(o)...)
	var spec corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec) != nil {
		return nil, nil
	}
	note := func(list *[]string, ref Ref, keys ...string) {
		have := changed[ref.String()]
		if len(have) == 0 || len(keys) > 0 && !slices.ContainsFunc(keys, func(k string) bool { return k == anyKey || have[k] }) {
			return
		}
		if !slices.Contains(*list, ref.String()) {
			*list = append(*list, ref.String())
		}
	}
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for _, c := range containers {
		for _, from := range c.EnvFrom {
			if s := from.ConfigMapRef; s != nil {
				note(&started, Ref{"ConfigMap", s.Name})
			}
			if s := from.SecretRef; s != nil {
				note(&started, Ref{"Secret", s.Name})
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			if s := e.ValueFrom.ConfigMapKeyRef; s != nil {
				note(&started, Ref{"ConfigMap", s.Name}, s.Key)
			}
			if s := e.ValueFrom.SecretKeyRef; s != nil {
				note(&started, Ref{"Secret", s.Name}, s.Key)
			}
		}
	}
	for _, v := range spec.Volumes {
		whole, parts := mountsOf(v.Name, containers)
		read := func(ref Ref, items []corev1.KeyToPath) {
			if keys := keysIn(items, parts); len(keys) > 0 {
				note(&started, ref, keys...)
			}
			if whole {
				note(&mounted, ref, keysOf(items)...)
			}
		}
		eachData(v, read)
	}
	return started, mounted
}

// mountsOf says how containers mount a volume: whole, and which of its files and folders
// by subPath; "" is one whose name only the pod knows.
func mountsOf(volume string, containers []corev1.Container) (whole bool, parts []string) {
	for _, c := range containers {
		for _, m := range c.VolumeMounts {
			switch {
			case m.Name != volume:
			case m.SubPathExpr != "":
				parts = append(parts, "")
			case m.SubPath != "":
				parts = append(parts, path.Clean(m.SubPath))
			default:
				whole = true
			}
		}
	}
	return whole, parts
}

// keysIn are the keys whose files lie at or below some paths of a volume. Without items a
// key is the name of its file.
func keysIn(items []corev1.KeyToPath, parts []string) (keys []string) {
	for _, part := range parts {
		if len(items) == 0 && part != "" && part != "." {
			keys = append(keys, part)
		}
		for _, i := range items {
			if part == "" || part == "." || i.Path == part || strings.HasPrefix(i.Path, part+"/") {
				keys = append(keys, i.Key)
			}
		}
		if len(items) == 0 && (part == "" || part == ".") {
			return []string{anyKey}
		}
	}
	return keys
}

// anyKey is no key's name: all of them count.
const anyKey = "*"
