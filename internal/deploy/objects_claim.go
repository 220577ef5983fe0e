package deploy

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// defaultClass marks the StorageClass of claims that name none.
const defaultClass = "storageclass.kubernetes.io/is-default-class"

// provisionGrace is how long a claim may say that its volume could not be made: the
// provisioner tries again, and may only just have been started.
const provisionGrace = 10 * time.Second

// storageClasses are those of the cluster, as they were when a claim was followed whose
// class was not among them.
type storageClasses struct {
	mu     sync.Mutex
	known  bool // false where the user may not list them
	list   map[string]*storagev1.StorageClass
	byHand map[string]bool // what volumes that somebody made name as theirs, for which there need be no object
}

// read makes the class of a claim known, where there is one.
func (s *storageClasses) read(ctx context.Context, client *kube.Client, claim *Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, named, _ := unstructured.NestedString(claim.Object, "spec", "storageClassName")
	if s.known && (s.list[name] != nil || s.byHand[name] || named && name == "" || !named && s.standard() != nil) {
		return
	}
	list, err := client.Core.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return // then events alone tell
	}
	s.known, s.list, s.byHand = true, map[string]*storagev1.StorageClass{}, map[string]bool{}
	for i := range list.Items {
		s.list[list.Items[i].Name] = &list.Items[i]
	}
	if s.list[name] != nil || name == "" {
		return
	}
	volumes, err := client.Core.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		s.byHand[name] = true // nobody can say that there is none
		return
	}
	for i := range volumes.Items {
		s.byHand[volumes.Items[i].Spec.StorageClassName] = true
	}
}

// standard is the class of claims that name none: of several that are marked, the newest,
// as the API server has it.
func (s *storageClasses) standard() *storagev1.StorageClass {
	var newest *storagev1.StorageClass
	for _, class := range s.list {
		if class.Annotations[defaultClass] != "true" {
			continue
		}
		if newest == nil || newest.CreationTimestamp.Before(&class.CreationTimestamp) ||
			newest.CreationTimestamp.Equal(&class.CreationTimestamp) && class.Name < newest.Name {
			newest = class
		}
	}
	return newest
}

// of finds the class of a claim, nil where there is none. known says whether that is sure
// and no volume made by hand is of it.
func (s *storageClasses) of(c *corev1.PersistentVolumeClaim) (class *storagev1.StorageClass, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Spec.StorageClassName != nil && *c.Spec.StorageClassName != "" {
		return s.list[*c.Spec.StorageClassName], s.known && !s.byHand[*c.Spec.StorageClassName]
	}
	if c.Spec.StorageClassName == nil {
		return s.standard(), s.known
	}
	return nil, s.known
}

// claim judges a PersistentVolumeClaim of the manifests. One whose class waits for the
// first pod that uses it is as ready as it can be while there is none.
func (w *world) claim(o *Object, s *ObjectStatus) {
	found, ok := w.found(o, s)
	if !ok {
		return
	}
	c := found.(*corev1.PersistentVolumeClaim)
	switch c.Status.Phase {
	case corev1.ClaimBound:
		return
	case corev1.ClaimLost:
		s.Ready = false
		s.Problem = &problem.Problem{Class: problem.Rollout, Code: "volume-lost", Where: at(s.Ref.String(), o.Origin), Summary: "its volume " + c.Spec.VolumeName + " is gone, and its data with it",
			Hint: "kubectl delete pvc " + c.Name + " -n " + c.Namespace + ", when nothing of it can be saved: applying makes it anew"}
		return
	}
	events := w.live.Events(c.UID)
	class, known := w.d.storage.of(c)
	waits := class != nil && class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer ||
		class == nil && lastEvent(events, "WaitForFirstConsumer", "") != nil
	if waits && !w.used(c) {
		s.Note = "its volume is made when the first pod uses it"
		return
	}
	s.Ready, s.Waiting = false, "its volume"
	if class != nil {
		s.Waiting = "its volume of class " + class.Name
	}
	s.Problem = w.unbound(o, c, events, known && class == nil)
}

// unbound is why a claim gets no volume, nil while that is not known.
func (w *world) unbound(o *Object, c *corev1.PersistentVolumeClaim, events []*corev1.Event, classless bool) *problem.Problem {
	p := &problem.Problem{Class: problem.Rollout, Code: "volume-unbound", Where: at(RefOf(o).String(), o.Origin)}
	name := ""
	if c.Spec.StorageClassName != nil {
		name = *c.Spec.StorageClassName
	}
	failed := lastEvent(events, "ProvisioningFailed", "")
	if failed != nil && lastEvent(events, "ProvisioningSucceeded", "") != nil {
		failed = nil // it was tried again
	}
	switch {
	case classless && name != "" && c.Spec.VolumeName == "":
		p.Where = at(RefOf(o).String(), w.d.placeOf(o, name, "storageclass"))
		p.Summary, p.Hint = "the cluster has no StorageClass "+name, "`kubectl get storageclass` lists those that there are; without storageClassName the default one is taken"
	case classless && c.Spec.StorageClassName == nil && c.Spec.VolumeName == "":
		p.Summary, p.Hint = "it names no StorageClass, and the cluster has no default one", "name one: `kubectl get storageclass` lists those that there are"
	case failed != nil && w.later(firstTime(events, "ProvisioningFailed"), provisionGrace):
		p.Summary, p.Output, p.Hint = "its volume cannot be made", mask(oneLine(failed.Message, 300)), "the message is the provisioner's own; `kubectl describe pvc "+c.Name+" -n "+c.Namespace+"` has more"
	default:
		return nil
	}
	return p
}

// firstTime is when events of a reason began. A claim may be made long before a pod wants
// its volume.
func firstTime(events []*corev1.Event, reason string) time.Time {
	var first time.Time
	for _, ev := range events {
		at := kube.EventTime(ev).Time
		if !ev.FirstTimestamp.IsZero() {
			at = ev.FirstTimestamp.Time
		}
		if ev.Reason == reason && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// used says whether a pod mounts a claim, so that its volume is to come.
func (w *world) used(c *corev1.PersistentVolumeClaim) bool {
	if !w.podsRead {
		w.pods, w.podsRead = w.live.Pods(), true
	}
	for _, p := range w.pods {
		for _, v := range p.Spec.Volumes {
			if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == c.Name && p.Namespace == c.Namespace {
				return true
			}
		}
	}
	return false
}
