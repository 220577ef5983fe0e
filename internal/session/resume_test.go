package session

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/watch"
)

// TestSavedWhileSuspended: a file that was there and was written to has its own time,
// however late the batch is; one that came with an old time has that of the batch.
func TestSavedWhileSuspended(t *testing.T) {
	dir := t.TempDir()
	index, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	entry := func(name string, old bool) tree.Entry {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if old {
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		d, err := index.Settle(name)
		if err != nil {
			t.Fatal(err)
		}
		return d.Now
	}
	now := time.Now()
	later := now.Add(70 * time.Second)
	for name, c := range map[string]struct {
		op    watch.Op
		old   bool
		batch time.Time
		age   time.Duration // of the save at the batch
	}{
		"just written":           {watch.Write, false, now.Add(time.Second), time.Second},
		"written while away":     {watch.Write, false, later, 70 * time.Second},
		"came in a folder":       {watch.Create, false, later, 0},
		"given an old time":      {watch.Write, true, now.Add(time.Second), 0},
		"removed":                {watch.Remove, false, later, 0},
		"written after the turn": {watch.Write, false, now.Add(-time.Minute), 0},
	} {
		saved := savedAt(watch.Batch{Time: c.batch, Changes: []watch.Change{{Path: name, Op: c.op, Entry: entry(name, c.old)}}})
		if age := c.batch.Sub(saved); (age - c.age).Abs() > 900*time.Millisecond {
			t.Errorf("%s: saved %v before the batch, want %v", name, age, c.age)
		}
	}
}

// TestContainersOfTheRecipeAgain: a container that runs an image of another recipe is told
// of, and gets files again as soon as the recipe is the image's, with no news of the cluster.
func TestContainersOfTheRecipeAgain(t *testing.T) {
	dir, index := files(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "1"})
	plan, err := dockerfile.Load(dockerfile.Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")})
	if err != nil {
		t.Fatal(err)
	}
	ref := "localhost:5001/shop/web:x@sha256:" + strings.Repeat("1", 64)
	owner := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "u", Controller: new(true)}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop", UID: "p", OwnerReferences: owner},
		Spec:   corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "web", Image: ref}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "web", ContainerID: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, &kube.Client{Core: fake.NewSimpleClientset(pod)}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	s := New(Options{Project: &config.Project{Name: "shop", Namespace: "shop"}}, Parts{Cluster: &cluster.Cluster{}, Live: live, Index: index, Store: store})
	s.mirror = mirror.New(mirror.Options{Events: func(mirror.Event) {}})
	var told []string
	s.OnNotice(func(n Notice) { told = append(told, n.Code) })
	svc := &service{built: true, ref: ref, record: &build.Record{}, plan: &mapping{plan: plan, dir: dir}, options: "another", admitted: true,
		workloads: []deploy.Ref{{Kind: "StatefulSet", Name: "web"}}, sync: map[containerKey]*Sync{}, syncErr: map[containerKey]*problem.Problem{}, ahead: map[string]bool{},
		held: map[string]heldFiles{"sha256:" + strings.Repeat("1", 64): {options: "its own"}}}
	svc.Name = "web"
	l := &loop{s: s, ctx: ctx, work: &work, services: []*service{svc}, byName: map[string]*service{"web": svc}, deployed: true}
	l.containersChanged(svc)
	if len(svc.sync) != 0 || len(told) != 1 || told[0] != "sync-other-recipe" {
		t.Fatalf("%d containers get files, told %v", len(svc.sync), told)
	}
	svc.options, svc.held = "its own", map[string]heldFiles{"sha256:" + strings.Repeat("1", 64): {options: "its own"}}
	svc.track.begin(Change{Action: ActBuild})
	decided{"web", choice{keep: ref, record: &build.Record{}, why: "what runs is current"}, nil}.apply(l)
	if len(svc.sync) != 1 {
		t.Error("the container gets no files although the recipe is its image's again")
	}
	if len(svc.toldOther) != 0 {
		t.Error("the next other recipe would not be told of")
	}
}

// TestWhatWasLetGoIsAChange: what was saved while a service was paused and is synced
// afterwards is a change from then on, until every container has it.
func TestWhatWasLetGoIsAChange(t *testing.T) {
	a, b := &Sync{Generation: 4}, &Sync{Generation: 4}
	svc := &service{sync: map[containerKey]*Sync{{"web-1", "web"}: a, {"web-2", "web"}: b}}
	l := &loop{generation: 4}
	l.resumes(svc, []string{"a", "b"})
	if c := svc.track.now; c.Action != ActBuild || len(c.Paths) != 2 || c.Generation != 5 {
		t.Fatalf("%+v", c)
	}
	if !svc.syncsInstead([]string{"a"}) || svc.track.now.Action != ActSync {
		t.Fatal("it is no change of files")
	}
	for _, st := range []*Sync{a, b} {
		if svc.catchUp(noon); !svc.track.now.Acknowledged.IsZero() {
			t.Fatal("acknowledged by a container that has it not")
		}
		st.Generation = 5
	}
	svc.catchUp(noon)
	if svc.serve(Ready, nil, noon); svc.track.now != nil || svc.track.history[0].Outcome != Served {
		t.Errorf("%+v", svc.track)
	}
	l.resumes(svc, []string{"a"})
	if svc.syncsInstead(nil) || svc.track.now.Action != ActBuild {
		t.Error("nothing differs, and it is a change of files")
	}
}

// TestWaitingOfWhatWasRolledBack: the row says that an older image runs, and the way back;
// what is paused is resumed, what is manual triggered.
func TestWaitingOfWhatWasRolledBack(t *testing.T) {
	l := &loop{s: &Session{}, byName: map[string]*service{}, objects: []*deploy.Object{}}
	for _, c := range []struct {
		svc  service
		want string
	}{
		{service{admitted: true, paused: true, back: true}, "`kdev resume web`: an image from before runs, and nothing is built or synced"},
		{service{admitted: true, paused: true, back: true, saved: map[string]bool{"a": true}}, "`kdev resume web`: an image from before runs, and nothing is built or synced"},
		{service{admitted: true, paused: true}, "`kdev resume web`"},
		{service{admitted: true, paused: true, saved: map[string]bool{"a": true}}, "`kdev resume web`"},
		{service{admitted: true, saved: map[string]bool{"a": true}}, "`kdev trigger web`"},
	} {
		c.svc.Name = "web"
		v := Service{Workloads: []Rollout{{Kind: "Deployment", Name: "web", Ready: true}}, Desired: 1}
		l.judge(&c.svc, &v, true)
		if v.Phase != Paused || v.Waiting.Text != c.want || strings.Contains(v.Explanation, "rolled back") != c.svc.back {
			t.Errorf("%s, waits for %v, %q; want %s", v.Phase, v.Waiting, v.Explanation, c.want)
		}
	}
}

// TestScaledAsTheManifests: as many as the manifests want, which is one where they say
// nothing, is nothing by hand.
func TestScaledAsTheManifests(t *testing.T) {
	ref := deploy.Ref{Kind: "Deployment", Name: "web"}
	o := &deploy.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"}}}}
	svc := &service{workloads: []deploy.Ref{ref}}
	var told Notice
	s := &Session{}
	s.OnNotice(func(n Notice) { told = n })
	l := &loop{s: s, byName: map[string]*service{"web": svc}, objects: []*deploy.Object{o}}
	scaled{"web", 2}.apply(l)
	if svc.scaled == nil || *svc.scaled != 2 || told.Text != "scaled to 2 by hand: the manifests say otherwise" {
		t.Errorf("%v, %q", svc.scaled, told.Text)
	}
	scaled{"web", 1}.apply(l)
	if svc.scaled != nil || told.Text != "scaled to 1, as the manifests say" {
		t.Errorf("%v, %q", svc.scaled, told.Text)
	}
}

// TestTheTimeOfAMistakeIsNotThatOfTheStart: ready after a mistake that a person had to
// mend, the time is since that.
func TestTheTimeOfAMistakeIsNotThatOfTheStart(t *testing.T) {
	var told []Notice
	s := &Session{}
	s.OnNotice(func(n Notice) { told = append(told, n) })
	svc := &service{wasReady: true, since: time.Now().Add(-time.Hour)}
	svc.problem = &problem.Problem{Code: "dockerfile"}
	l := &loop{s: s}
	l.tellRollout(svc, &Service{Phase: FailedPhase, Stuck: true, Problem: svc.problem})
	svc.since = time.Now().Add(-time.Hour) // it took an hour to mend it
	l.tellRollout(svc, &Service{Phase: Pending})
	l.tellRollout(svc, &Service{Phase: Ready, Current: 1, Desired: 1})
	if len(told) != 1 || time.Duration(told[0].Took) > time.Minute {
		t.Errorf("%+v", told)
	}
}
