package deploy

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kdev-io/kdev/internal/kube"
)

// A stub is an API server that takes every apply as it is: it merges maps, puts lists in
// place of lists, and notes for kdev's manager what the apply has. refuse answers instead
// where it returns an error; it sees dry runs too.
type stub struct {
	*dynamicfake.FakeDynamicClient
	core *fake.Clientset

	mu      sync.Mutex
	refuse  func(u *unstructured.Unstructured, o metav1.PatchOptions) error
	applied []string // "Kind/name" of each apply that was taken, dry runs left out
}

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// stubKinds are the kinds that a stub serves.
var stubKinds = map[schema.GroupVersionResource]string{
	{Version: "v1", Resource: "configmaps"}:                                               "ConfigMap",
	{Version: "v1", Resource: "secrets"}:                                                  "Secret",
	{Version: "v1", Resource: "services"}:                                                 "Service",
	{Version: "v1", Resource: "pods"}:                                                     "Pod",
	{Version: "v1", Resource: "namespaces"}:                                               "Namespace",
	{Version: "v1", Resource: "persistentvolumeclaims"}:                                   "PersistentVolumeClaim",
	{Group: "apps", Version: "v1", Resource: "deployments"}:                               "Deployment",
	{Group: "apps", Version: "v1", Resource: "statefulsets"}:                              "StatefulSet",
	{Group: "batch", Version: "v1", Resource: "jobs"}:                                     "Job",
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}:                "EndpointSlice",
	{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}:             "APIService",
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}: "CustomResourceDefinition",
}

// stubbed is a Deployer on a stub.
func stubbed(t *testing.T, root string, live ...*unstructured.Unstructured) (*Deployer, *stub) {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{}
	var versions []schema.GroupVersion
	for gvr := range stubKinds {
		versions = append(versions, gvr.GroupVersion())
	}
	mapper := staticMapper{meta.NewDefaultRESTMapper(versions)}
	for gvr, kind := range stubKinds {
		lists[gvr] = kind + "List"
		scope := meta.RESTScopeNamespace
		if kind == "Namespace" || kind == "APIService" || kind == "CustomResourceDefinition" {
			scope = meta.RESTScopeRoot
		}
		mapper.AddSpecific(gvr.GroupVersion().WithKind(kind), gvr, gvr, scope)
	}
	var objects []runtime.Object
	for _, u := range live {
		objects = append(objects, u)
	}
	s := &stub{FakeDynamicClient: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...), core: fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})}
	s.PrependReactor("patch", "*", s.patch)
	d := New(&kube.Client{Mapper: mapper, Core: s.core, Dynamic: s}, Options{Project: "shop", Namespace: "shop", Root: root})
	t.Cleanup(d.Close)
	return d, s
}

func (s *stub) patch(a clienttesting.Action) (bool, runtime.Object, error) {
	p := a.(clienttesting.PatchActionImpl)
	if p.GetPatchType() != types.ApplyPatchType {
		return false, nil, nil
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(p.GetPatch()); err != nil {
		return true, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		if err := s.refuse(u.DeepCopy(), p.PatchOptions); err != nil {
			return true, nil, err
		}
	}
	gvr, ns := p.GetResource(), p.GetNamespace()
	was, err := s.Tracker().Get(gvr, ns, p.GetName())
	if err != nil && !apierrors.IsNotFound(err) {
		return true, nil, err
	}
	now := u.DeepCopy()
	if err == nil {
		now.Object, _ = merged(was.(*unstructured.Unstructured).Object, u.Object).(map[string]any)
	} else {
		now.SetUID(types.UID(u.GetKind() + "/" + u.GetName()))
	}
	owned, _ := json.Marshal(fieldsOf(u.Object))
	now.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: p.PatchOptions.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(string(owned))}})
	if len(p.PatchOptions.DryRun) > 0 {
		return true, now, nil
	}
	s.applied = append(s.applied, u.GetKind()+"/"+u.GetName())
	if err == nil {
		err = s.Tracker().Update(gvr, now, ns)
	} else {
		err = s.Tracker().Create(gvr, now, ns)
	}
	if err == nil && gvr.Resource == "configmaps" && strings.HasPrefix(now.GetName(), "kdev-") {
		err = s.mirror(now) // the Deployer reads the set's parent by the typed client
	}
	return true, now, err
}

func merged(was, now any) any {
	a, aok := was.(map[string]any)
	b, bok := now.(map[string]any)
	if !aok || !bok {
		return now
	}
	out := runtime.DeepCopyJSON(a)
	for key, v := range b {
		out[key] = merged(out[key], v)
	}
	return out
}

// fieldsOf is the FieldsV1 tree of maps; lists count as a whole.
func fieldsOf(v any) map[string]any {
	out := map[string]any{}
	m, _ := v.(map[string]any)
	for key, below := range m {
		if key != "apiVersion" && key != "kind" {
			out["f:"+key] = fieldsOf(below)
		}
	}
	return out
}

func (s *stub) mirror(u *unstructured.Unstructured) error {
	gvr := configMaps
	cm, err := typedConfigMap(u)
	if err != nil {
		return err
	}
	if err := s.core.Tracker().Update(gvr, cm, cm.Namespace); apierrors.IsNotFound(err) {
		return s.core.Tracker().Create(gvr, cm, cm.Namespace)
	} else if err != nil {
		return err
	}
	return nil
}

func typedConfigMap(u *unstructured.Unstructured) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{}
	return cm, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, cm)
}

// liveOf parses live objects of the namespace shop, as members of d's set.
func liveOf(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, o := range parse(t, text) {
		data, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{} // with the types of numbers that the API has
		if err := u.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		if u.GetKind() != "Namespace" && u.GetKind() != "APIService" {
			u.SetNamespace("shop")
		}
		u.SetUID(types.UID(u.GetKind() + "/" + u.GetName()))
		out = append(out, u)
	}
	return out
}

// there are the live objects of a kind, by name.
func (s *stub) there(t *testing.T, resource string) string {
	t.Helper()
	var names []string
	for gvr := range stubKinds {
		if gvr.Resource != resource {
			continue
		}
		list, err := s.Resource(gvr).Namespace("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			names = append(names, list.Items[i].GetName())
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
