package deploy

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kdev-io/kdev/internal/deploy/app"
	"github.com/kdev-io/kdev/internal/kube"
)

// madeUp stands for a text that a chart makes up at each render.
var madeUp = app.Placeholder("made up by the chart at the first apply")

// Settle gives the fields that a chart makes up at each render what they have in the cluster,
// as an apply leaves them, so that the same files give the same bytes. Where they are not there,
// in Secrets, and without a cluster, something stands for them: a text, 0, or nothing at all. It
// returns the fields of which that is so, sorted: "Secret/db stringData.password".
//
// Problems: those of reading.
func Settle(ctx context.Context, cluster *kube.Client, namespace string, objects []*Object) ([]string, error) {
	var standing []string
	for _, o := range objects {
		if len(o.unstable) == 0 {
			continue
		}
		var live map[string]any
		if cluster != nil && !isSecret(o.Unstructured) {
			u, err := liveOne(ctx, cluster, namespace, o)
			if err != nil {
				return nil, err
			}
			if u != nil {
				live = u.Object
			}
		}
		for _, path := range o.unstable {
			want, ok := path.in(o.Object, o.Object)
			if !ok || holdsImage(path, want) {
				continue
			}
			v, ok := path.in(live, o.Object)
			if _, list := want.([]any); live == nil || !ok || list || holdsImage(path, v) {
				v = standIn(want, isSecret(o.Unstructured) && path[0].key == "data")
				standing = append(standing, RefOf(o).String()+" "+path.String())
			}
			path.set(o.Object, runtime.DeepCopyJSONValue(v))
		}
	}
	slices.Sort(standing)
	return standing, nil
}

// standIn is a value of the same type that is no one's.
func standIn(v any, encoded bool) any {
	switch v.(type) {
	case string:
		if encoded {
			return base64.StdEncoding.EncodeToString([]byte(madeUp))
		}
		return madeUp
	case map[string]any:
		return map[string]any{}
	case []any:
		return []any{}
	case bool:
		return false
	case nil:
		return nil
	}
	return int64(0)
}

// liveOne reads the live form of an object, nil where there is none or it may not be read.
func liveOne(ctx context.Context, cluster *kube.Client, namespace string, o *Object) (*unstructured.Unstructured, error) {
	d := New(cluster, Options{Namespace: namespace})
	defer d.Close()
	mapping, err := d.mapping(o)
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	in := ""
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		in = orElse(o.GetNamespace(), namespace)
	}
	live, err := cluster.Dynamic.Resource(mapping.Resource).Namespace(in).Get(ctx, o.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	return live, nil
}

// unnamed says of which objects of a render there is none by that name in another render of the
// same files, "" where there is none: a chart makes up their names.
func unnamed(first, second []*Object) string {
	var names []string
	for _, o := range first {
		if !slices.ContainsFunc(second, func(other *Object) bool { return keyOf(o) == keyOf(other) }) {
			names = append(names, RefOf(o).String())
		}
	}
	return strings.Join(names, ", ")
}
