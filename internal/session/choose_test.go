package session

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/watch"
)

// A kitchen is a store in which the image of a small project was made.
type kitchen struct {
	dir   string
	store *registry.Store
	index *tree.Index
	spec  build.Spec
	plan  *mapping
	ref   string
}

func newKitchen(t *testing.T, dockerfile string) *kitchen {
	t.Helper()
	dir, index := files(t, map[string]string{"Dockerfile": dockerfile, "f": "one", "g": "two"})
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k := &kitchen{dir: dir, store: store, index: index,
		spec: build.Spec{Project: "shop", Service: "web", Root: dir, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")}}
	k.load(t)
	r, err := build.New(nil, store, registry.Local(), index).Build(t.Context(), k.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.ref = r.Ref
	return k
}

func (k *kitchen) load(t *testing.T) {
	t.Helper()
	plan, err := build.Load(k.spec)
	if err != nil {
		t.Fatal(err)
	}
	k.plan = &mapping{plan: plan, dir: k.dir}
}

func (k *kitchen) save(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *kitchen) choose(t *testing.T, change func(*question)) choice {
	t.Helper()
	q := question{spec: k.spec, plan: k.plan, live: k.ref, syncs: true, builds: true, registry: "localhost:5001"}
	change(&q)
	c, err := choose(t.Context(), k.store, k.index, q)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestChooseByWhatBecameOfTheImage: files are left to be synced only where a container has
// run; else the image has to be the tree's, whole, pullable and of the cluster's registry.
func TestChooseByWhatBecameOfTheImage(t *testing.T) {
	ran, running, refused := sighting{ran: true}, sighting{ran: true, running: true}, sighting{refused: true}
	for name, c := range map[string]struct {
		edited bool
		change func(*question)
		kept   bool
	}{
		"unchanged, runs":                       {false, func(q *question) { q.seen = running }, true},
		"unchanged, no pod":                     {false, func(q *question) {}, true},
		"unchanged, cannot be pulled":           {false, func(q *question) { q.seen = refused }, false},
		"edited, runs":                          {true, func(q *question) { q.seen = running }, true},
		"edited, ran":                           {true, func(q *question) { q.seen = ran }, true},
		"edited, ran, a new pod cannot pull":    {true, func(q *question) { q.seen = sighting{ran: true, refused: true} }, true},
		"edited, no pod":                        {true, func(q *question) {}, false},
		"edited, no pod yet of this session's":  {true, func(q *question) { q.settled = true }, true},
		"edited, cannot be pulled":              {true, func(q *question) { q.seen, q.settled = refused, true }, false},
		"edited, nothing is built":              {true, func(q *question) { q.builds = false }, true},
		"cannot be pulled, nothing is built":    {false, func(q *question) { q.seen, q.builds = refused, false }, false},
		"unchanged, not synced":                 {false, func(q *question) { q.seen, q.syncs = running, false }, true},
		"edited, not synced":                    {true, func(q *question) { q.seen, q.syncs = running, false }, false},
		"another registry, does not run":        {false, func(q *question) { q.registry = "ghcr.io/acme" }, false},
		"another registry, ran":                 {false, func(q *question) { q.seen, q.registry = ran, "localhost:50" }, false},
		"another registry, runs":                {false, func(q *question) { q.seen, q.registry = running, "ghcr.io/acme" }, true},
		"whatever registry, where nobody knows": {false, func(q *question) { q.registry = "" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKitchen(t, "FROM scratch\nCOPY f g /\n")
			if c.edited {
				k.save(t, "f", "three")
			}
			if got := k.choose(t, c.change); (got.keep == k.ref) != c.kept || got.keep == "" && got.why == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestChooseSyncOff: an edit of a service that is not synced is no less a change because
// it was made while kdev was away.
func TestChooseSyncOff(t *testing.T) {
	k := newKitchen(t, "FROM scratch\nCOPY f g /\n")
	k.plan.sync.Off = true
	k.save(t, "g", "three")
	if got := k.choose(t, func(q *question) { q.seen, q.syncs = sighting{ran: true, running: true}, false }); got.keep != "" || !strings.HasPrefix(got.why, "g changed") {
		t.Errorf("%+v", got)
	}
}

// TestChooseADamagedImage: what no node could pull is looked through, and the next build
// makes a damaged layer again although nothing that it is made from has changed.
func TestChooseADamagedImage(t *testing.T) {
	refused := func(q *question) { q.seen = sighting{refused: true} }
	for name, damage := range map[string]func(file string) error{
		"other content": func(file string) error {
			raw, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			raw[len(raw)/2] ^= 1
			return os.WriteFile(file, raw, 0o600)
		},
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			k := newKitchen(t, "FROM scratch\nCOPY f g /\n")
			img, err := k.store.Image(k.spec.Repository(), digestOf(k.ref))
			if err != nil {
				t.Fatal(err)
			}
			layers, err := img.Layers()
			if err != nil || len(layers) == 0 {
				t.Fatal(len(layers), err)
			}
			layer, err := layers[0].Digest()
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(k.store.Dir(), "blobs", "sha256", layer.Hex)); err != nil {
				t.Fatal(err)
			}
			if name == "gone" {
				if got := k.choose(t, func(*question) {}); got.keep != "" {
					t.Errorf("kept although a layer is missing: %+v", got)
				}
			}
			if got := k.choose(t, refused); got.keep != "" {
				t.Fatalf("%+v", got)
			}
			r, err := build.New(nil, k.store, registry.Local(), k.index).Build(t.Context(), k.spec, nil)
			if err != nil || r.Cached || r.Ref != k.ref {
				t.Fatalf("%+v, %v", r, err)
			}
			if got := k.choose(t, func(*question) {}); got.keep != k.ref {
				t.Errorf("not whole again: %+v", got)
			}
		})
	}
}

// TestChooseAMovedBase: another image under the base's name on the engine is another base.
func TestChooseAMovedBase(t *testing.T) {
	k := newKitchen(t, "FROM scratch\nCOPY f g /\n")
	record, ok := build.LoadRecord(k.store, digestOf(k.ref))
	if !ok {
		t.Fatal("no record")
	}
	record.Bases = map[string]string{"local:1": "sha256:old"}
	now := ""
	imageID := func(context.Context, string) string { return now }
	for id, want := range map[string]string{"sha256:old": "", "": "", "sha256:new": "local:1"} {
		if now = id; movedBase(t.Context(), record, imageID) != want {
			t.Errorf("%q: %q, want %q", id, movedBase(t.Context(), record, imageID), want)
		}
	}
	if movedBase(t.Context(), record, nil) != "" {
		t.Error("nobody can tell, and it moved")
	}
}

func TestSight(t *testing.T) {
	began := metav1.Unix(1e9, 0)
	status := func(st corev1.ContainerStatus) *corev1.Pod {
		st.Name = "web"
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web@1"}, {Name: "aside", Image: "other"}}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{st, {Name: "aside", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
	}
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	ended := func(at metav1.Time) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: at}}
	}
	for name, c := range map[string]struct {
		status corev1.ContainerStatus
		want   sighting
	}{
		"not yet":           {corev1.ContainerStatus{State: waiting("ContainerCreating")}, sighting{}},
		"runs":              {corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}, sighting{ran: true, running: true}},
		"ended":             {corev1.ContainerStatus{State: ended(began)}, sighting{ran: true}},
		"crashes":           {corev1.ContainerStatus{State: waiting("CrashLoopBackOff"), LastTerminationState: ended(began)}, sighting{ran: true}},
		"could not start":   {corev1.ContainerStatus{State: waiting("RunContainerError"), LastTerminationState: ended(metav1.Unix(0, 0))}, sighting{}},
		"cannot be pulled":  {corev1.ContainerStatus{State: waiting("ImagePullBackOff")}, sighting{refused: true}},
		"is not pulled now": {corev1.ContainerStatus{State: waiting("ErrImagePull")}, sighting{refused: true}},
	} {
		pods := []*corev1.Pod{status(c.status)}
		if got := sight(pods, "web@1"); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if got := sight(pods, "web@2"); got != (sighting{}) {
			t.Errorf("%s: another image's: %+v", name, got)
		}
	}
}

// TestASaveBesideAnImageThatNobodyCouldPull: there is no container to sync into, and none
// will come, so what was saved is decided about anew.
func TestASaveBesideAnImageThatNobodyCouldPull(t *testing.T) {
	k := newKitchen(t, "FROM scratch\nCOPY f g /\n")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: k.ref}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}}}
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, &kube.Client{Core: fake.NewSimpleClientset(pod)}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	var work sync.WaitGroup
	s := New(Options{Project: &config.Project{Name: "shop", Namespace: "shop"}}, Parts{Cluster: &cluster.Cluster{}, Live: live, Index: k.index, Store: k.store})
	record, _ := build.LoadRecord(k.store, digestOf(k.ref))
	svc := &service{built: true, ref: k.ref, record: record, plan: k.plan, spec: k.spec, ahead: map[string]bool{}}
	l := &loop{s: s, ctx: ctx, work: &work, services: []*service{svc}, byName: map[string]*service{"": svc}}
	k.save(t, "f", "three")
	l.serviceChanged(svc, "f", watch.Batch{})
	work.Wait()
	if !svc.deciding {
		t.Fatal("nothing is decided")
	}
	if e, ok := (<-s.events).(decided); !ok || e.choice.keep != "" || e.choice.why != "no node could pull what was to run" {
		t.Errorf("%+v", e)
	}
}
