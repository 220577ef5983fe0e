package testkube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// A resource is one kind that the server serves.
type resource struct {
	schema.GroupVersionKind
	plural     string
	short      []string
	namespaced bool
}

// resources are those that kdev's informers and other log tools ask for.
var resources = []resource{
	{schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, "pods", []string{"po"}, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "Service"}, "services", []string{"svc"}, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, "secrets", nil, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, "configmaps", []string{"cm"}, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "Event"}, "events", []string{"ev"}, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, "persistentvolumeclaims", []string{"pvc"}, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "ReplicationController"}, "replicationcontrollers", []string{"rc"}, true},
	{schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "namespaces", []string{"ns"}, false},
	{schema.GroupVersionKind{Version: "v1", Kind: "Node"}, "nodes", []string{"no"}, false},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, "deployments", []string{"deploy"}, true},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}, "replicasets", []string{"rs"}, true},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}, "statefulsets", []string{"sts"}, true},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"}, "daemonsets", []string{"ds"}, true},
	{schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, "jobs", nil, true},
	{schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "CronJob"}, "cronjobs", []string{"cj"}, true},
	{schema.GroupVersionKind{Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"}, "endpointslices", nil, true},
	{schema.GroupVersionKind{Group: "example.dev", Version: "v1", Kind: "Rollout"}, "rollouts", nil, true},
}

func byPlural(group, plural string) *resource {
	for i := range resources {
		if resources[i].plural == plural && resources[i].Group == group {
			return &resources[i]
		}
	}
	return nil
}

func byKind(gvk schema.GroupVersionKind) *resource {
	for i := range resources {
		if resources[i].GroupVersionKind == gvk {
			return &resources[i]
		}
	}
	return nil
}

// objects is a store with watches.
type objects struct {
	mu       sync.Mutex
	version  int64
	byKey    map[string]*unstructured.Unstructured // plural.group/namespace/name
	watchers map[*watcher]bool
	history  []change
}

// A change is one write, for watches that go on from an older version.
type change struct {
	version int64
	res     *resource
	key     string
	object  *unstructured.Unstructured
	gone    bool
}

// A watcher gets the changes of one watch request.
type watcher struct {
	res    *resource
	match  matcher
	events chan event
	shown  map[string]bool // what the client holds, so that a change of labels is a deletion
}

type event struct {
	Type   watch.EventType `json:"type"`
	Object any             `json:"object"`
}

// A matcher is what a list or watch asks for.
type matcher struct {
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

func (m matcher) matches(o *unstructured.Unstructured) bool {
	if m.namespace != "" && o.GetNamespace() != m.namespace {
		return false
	}
	return m.labels.Matches(labels.Set(o.GetLabels())) && m.fields.Matches(objectFields{o})
}

// objectFields looks any field up by its path, more than a real server allows.
type objectFields struct{ o *unstructured.Unstructured }

func (f objectFields) Has(field string) bool { return f.Get(field) != "" }

func (f objectFields) Get(field string) string {
	v, _, _ := unstructured.NestedString(f.o.Object, strings.Split(field, ".")...)
	return v
}

func key(res *resource, namespace, name string) string {
	return res.plural + "." + res.Group + "/" + namespace + "/" + name
}

// toUnstructured turns a typed object into what the server keeps.
func toUnstructured(obj runtime.Object) (*unstructured.Unstructured, *resource, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		gvks, _, err := scheme.Scheme.ObjectKinds(obj)
		if err != nil {
			return nil, nil, err
		}
		b, err := json.Marshal(obj)
		if err != nil {
			return nil, nil, err
		}
		u = &unstructured.Unstructured{}
		if err := json.Unmarshal(b, &u.Object); err != nil {
			return nil, nil, err
		}
		u.SetGroupVersionKind(gvks[0])
	}
	res := byKind(u.GroupVersionKind())
	if res == nil {
		return nil, nil, fmt.Errorf("testkube serves no %s", u.GroupVersionKind())
	}
	return u.DeepCopy(), res, nil
}

func (s *objects) put(u *unstructured.Unstructured, res *resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	k := key(res, u.GetNamespace(), u.GetName())
	old := s.byKey[k]
	if u.GetUID() == "" {
		if old != nil {
			u.SetUID(old.GetUID())
		} else {
			unstructuredUID(u, s.version)
		}
	}
	u.SetResourceVersion(fmt.Sprint(s.version))
	s.byKey[k] = u
	s.tell(change{s.version, res, k, u, false})
}

// tell gives a change to those who watch, and to those who will.
func (s *objects) tell(c change) {
	s.history = append(s.history, c)
	for w := range s.watchers {
		if w.res == c.res {
			w.send(c.key, c.object, c.gone)
		}
	}
}

func (s *objects) remove(res *resource, namespace, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key(res, namespace, name)
	u := s.byKey[k]
	if u == nil {
		return false
	}
	s.version++
	delete(s.byKey, k)
	u = u.DeepCopy()
	u.SetResourceVersion(fmt.Sprint(s.version))
	s.tell(change{s.version, res, k, u, true})
	return true
}

// send tells a watcher of a change as its selectors see it.
func (w *watcher) send(k string, u *unstructured.Unstructured, gone bool) {
	matches, shown := !gone && w.match.matches(u), w.shown[k]
	switch {
	case matches && shown:
		w.events <- event{watch.Modified, u}
	case matches:
		w.shown[k] = true
		w.events <- event{watch.Added, u}
	case shown:
		delete(w.shown, k)
		w.events <- event{watch.Deleted, u}
	}
}

func (s *objects) list(res *resource, m matcher) (items []*unstructured.Unstructured, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.matching(res, m), s.version
}

func (s *objects) matching(res *resource, m matcher) []*unstructured.Unstructured {
	items := []*unstructured.Unstructured{}
	for _, k := range slices.Sorted(maps.Keys(s.byKey)) {
		if strings.HasPrefix(k, res.plural+"."+res.Group+"/") && m.matches(s.byKey[k]) {
			items = append(items, s.byKey[k])
		}
	}
	return items
}

// watch starts a watch. With initial the present objects come first as additions and
// then a bookmark that says so (KEP-3157); without it the changes since a version.
func (s *objects) watch(res *resource, m matcher, initial bool, since int64) (*watcher, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Room for every event of a test: a sender must not wait for a client.
	w := &watcher{res: res, match: m, events: make(chan event, 100_000), shown: map[string]bool{}}
	if initial {
		for _, u := range s.matching(res, m) {
			w.send(key(res, u.GetNamespace(), u.GetName()), u, false)
		}
		mark := &unstructured.Unstructured{}
		mark.SetGroupVersionKind(res.GroupVersionKind)
		mark.SetResourceVersion(fmt.Sprint(s.version))
		mark.SetAnnotations(map[string]string{"k8s.io/initial-events-end": "true"})
		w.events <- event{watch.Bookmark, mark}
	} else {
		for _, c := range s.history {
			if c.res != res {
				continue
			}
			if c.version > since {
				w.send(c.key, c.object, c.gone)
			} else {
				w.shown[c.key] = !c.gone && m.matches(c.object)
			}
		}
	}
	s.watchers[w] = true
	return w, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}
}

func (s *objects) get(res *resource, namespace, name string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[key(res, namespace, name)]
}

func unstructuredUID(u *unstructured.Unstructured, n int64) {
	_ = unstructured.SetNestedField(u.Object, fmt.Sprintf("00000000-0000-0000-0000-%012d", n), "metadata", "uid")
}
