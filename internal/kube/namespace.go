package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Namespace is the live state of one namespace, kept by informers. The
// objects it hands out are shared: read them, never write to them.
type Namespace struct {
	Name string // "" watches all namespaces

	pods, replicaSets, deployments, statefulSets, daemonSets, jobs, cronJobs,
	services, endpointSlices, claims, events cache.SharedIndexInformer

	own  <-chan struct{}
	done chan struct{} // closed when every informer's goroutines have ended

	dynamic   dynamic.Interface // for kinds that are followed; may be nil
	watching  context.Context   // of every informer
	followers sync.WaitGroup

	mu     sync.Mutex
	subs   map[int]chan struct{}
	next   int
	denied map[string]error // kinds that RBAC keeps from us, as Denied names them
	failed map[string]error // last watch error of a kind that has not synced yet
	wake   chan struct{}    // a kind was denied or failed: look again

	followed map[schema.GroupVersionResource]cache.SharedIndexInformer
	beside   map[string]*besideNamespace
	parent   *Namespace // hears of the changes too; nil of one that stands for itself

	alarm   *time.Timer
	alarmAt time.Time // zero when it is not set
}

// Watch starts the informers of a namespace ("" for all) and returns when each
// holds its first list. Kinds that RBAC forbids stay empty and are named by
// [Namespace.Denied]; forbidden pods are an error, since nothing works without.
// Cancelling ctx ends the informers; [Namespace.Wait] waits for that. Later
// losses of the connection are survived: informers list and watch again.
//
// Problems: cluster-unreachable, rbac-denied.
func Watch(ctx context.Context, c *Client, namespace string) (*Namespace, error) {
	return start(ctx, c, namespace, nil)
}

func start(ctx context.Context, c *Client, namespace string, parent *Namespace) (*Namespace, error) {
	// client-go logs every lost watch to stderr, into the dashboard. What of it
	// matters to a person comes out of this package as an error.
	ctx = klog.NewContext(ctx, logr.Discard())
	ctx, cancel := context.WithCancel(ctx)

	n := &Namespace{
		Name:   namespace,
		done:   make(chan struct{}),
		subs:   map[int]chan struct{}{},
		denied: map[string]error{},
		failed: map[string]error{},
		wake:   make(chan struct{}, 1),

		dynamic: c.Dynamic, watching: ctx, parent: parent,
	}
	n.own, _ = n.Subscribe()

	factory := informers.NewSharedInformerFactoryWithOptions(c.Core, 0,
		informers.WithNamespace(namespace), informers.WithTransform(dropManagedFields))
	n.pods = factory.Core().V1().Pods().Informer()
	n.services = factory.Core().V1().Services().Informer()
	n.claims = factory.Core().V1().PersistentVolumeClaims().Informer()
	n.events = factory.Core().V1().Events().Informer()
	n.replicaSets = factory.Apps().V1().ReplicaSets().Informer()
	n.deployments = factory.Apps().V1().Deployments().Informer()
	n.statefulSets = factory.Apps().V1().StatefulSets().Informer()
	n.daemonSets = factory.Apps().V1().DaemonSets().Informer()
	n.jobs = factory.Batch().V1().Jobs().Informer()
	n.cronJobs = factory.Batch().V1().CronJobs().Informer()
	n.endpointSlices = factory.Discovery().V1().EndpointSlices().Informer()

	for kind, informer := range n.informers() {
		if err := n.prepare(kind, informer); err != nil {
			cancel()
			return nil, err
		}
	}
	factory.StartWithContext(ctx)
	go func() {
		defer cancel()
		<-ctx.Done()
		n.mu.Lock()
		if n.alarm != nil {
			n.alarm.Stop()
		}
		n.mu.Unlock()
		factory.Shutdown()
		n.followers.Wait()
		close(n.done)
	}()
	if err := n.waitSynced(ctx, c); err != nil {
		cancel()
		n.Wait()
		return nil, err
	}
	return n, nil
}

// Changed carries a value after anything in the namespace changed: one however
// many changes came since it was last received. It is for one receiver; others
// use [Namespace.Subscribe].
func (n *Namespace) Changed() <-chan struct{} { return n.own }

// Subscribe gives a coalesced change signal of its own and the function that
// ends it. The channel is never closed.
func (n *Namespace) Subscribe() (<-chan struct{}, func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ch := n.next, make(chan struct{}, 1)
	n.next++
	n.subs[id] = ch
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.subs, id)
	}
}

// Poke sends a change signal for something that is no object of the namespace but
// changes what is to be said about it.
func (n *Namespace) Poke() { n.signal() }

// PokeAt sends a change signal at a time, for rules that have patience. Only the
// earliest time that is asked for is kept: whoever then looks asks again.
func (n *Namespace) PokeAt(at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.alarm != nil && !n.alarmAt.IsZero() && !at.Before(n.alarmAt) {
		return
	}
	if n.alarm != nil {
		n.alarm.Stop()
	}
	n.alarmAt = at
	n.alarm = time.AfterFunc(time.Until(at), func() {
		n.mu.Lock()
		n.alarmAt = time.Time{}
		n.mu.Unlock()
		n.signal()
	})
}

// Wait returns when ctx of [Watch] is done and every goroutine has ended.
func (n *Namespace) Wait() { <-n.done }

// Denied names the kinds that RBAC keeps from us, sorted, in plural; those of
// [Namespace.Follow] with their group, since any plural may be another group's too.
func (n *Namespace) Denied() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.denied))
}

func (n *Namespace) informers() map[string]cache.SharedIndexInformer {
	return map[string]cache.SharedIndexInformer{
		"pods": n.pods, "services": n.services, "persistentvolumeclaims": n.claims, "events": n.events,
		"replicasets": n.replicaSets, "deployments": n.deployments, "statefulsets": n.statefulSets,
		"daemonsets": n.daemonSets, "jobs": n.jobs, "cronjobs": n.cronJobs, "endpointslices": n.endpointSlices,
	}
}

func (n *Namespace) prepare(kind string, informer cache.SharedIndexInformer) error {
	indexers := cache.Indexers{ownerIndex: indexByOwner}
	switch kind {
	case "events":
		indexers = cache.Indexers{involvedIndex: indexByInvolved}
	case "endpointslices":
		indexers[serviceIndex] = indexByService
	}
	if err := informer.AddIndexers(indexers); err != nil {
		return fmt.Errorf("index %s: %w", kind, err)
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		n.watchFailed(kind, err)
	}); err != nil {
		return fmt.Errorf("watch %s: %w", kind, err)
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.signal() },
		UpdateFunc: func(any, any) { n.signal() },
		DeleteFunc: func(any) { n.signal() },
	})
	return err
}

func (n *Namespace) signal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ch := range n.subs {
		select {
		case ch <- struct{}{}:
		default: // it has not yet looked at the last one
		}
	}
	if n.parent != nil {
		n.parent.signal()
	}
}

// watchFailed keeps what a reflector says; the reflector itself tries again.
func (n *Namespace) watchFailed(kind string, err error) {
	n.mu.Lock()
	if apierrors.IsForbidden(err) {
		n.denied[kind] = err
	} else {
		n.failed[kind] = err
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// waitSynced waits for the first list of every kind that is not denied.
func (n *Namespace) waitSynced(ctx context.Context, c *Client) error {
	// The reflectors' error handler says nothing until its first failure, and its
	// backoff hides which kind it was; one plain request finds a dead server at once.
	if err := c.Ping(ctx); err != nil {
		return err
	}
	for kind, informer := range n.informers() {
		for !informer.HasSynced() {
			n.mu.Lock()
			denied, failed := n.denied[kind], n.failed[kind]
			n.mu.Unlock()
			if denied != nil {
				if kind == "pods" {
					return &problem.Problem{Code: "rbac-denied", Where: "namespace " + n.Name,
						Summary: "this user may not list and watch pods", Err: denied,
						Hint: "kubectl auth can-i --list -n " + n.Name + " shows what is allowed"}
				}
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("list %s: %w", kind, ctx.Err()), failed)
			case <-informer.HasSyncedChecker().Done():
			case <-n.wake:
			}
		}
	}
	return nil
}

// dropManagedFields halves what informers hold; nobody here reads them.
func dropManagedFields(obj any) (any, error) {
	if m, err := meta.Accessor(obj); err == nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

// Pods and the other getters return what the namespace holds now, sorted by
// namespace and name.
func (n *Namespace) Pods() []*corev1.Pod { return list[*corev1.Pod](n.pods) }
func (n *Namespace) ReplicaSets() []*appsv1.ReplicaSet {
	return list[*appsv1.ReplicaSet](n.replicaSets)
}
func (n *Namespace) Deployments() []*appsv1.Deployment {
	return list[*appsv1.Deployment](n.deployments)
}
func (n *Namespace) StatefulSets() []*appsv1.StatefulSet {
	return list[*appsv1.StatefulSet](n.statefulSets)
}
func (n *Namespace) DaemonSets() []*appsv1.DaemonSet { return list[*appsv1.DaemonSet](n.daemonSets) }
func (n *Namespace) Jobs() []*batchv1.Job            { return list[*batchv1.Job](n.jobs) }
func (n *Namespace) CronJobs() []*batchv1.CronJob    { return list[*batchv1.CronJob](n.cronJobs) }
func (n *Namespace) Services() []*corev1.Service     { return list[*corev1.Service](n.services) }
func (n *Namespace) PVCs() []*corev1.PersistentVolumeClaim {
	return list[*corev1.PersistentVolumeClaim](n.claims)
}
func (n *Namespace) EndpointSlices() []*discoveryv1.EndpointSlice {
	return list[*discoveryv1.EndpointSlice](n.endpointSlices)
}

// Get looks one object up by kind ("Deployment") and name, in the watched
// namespace; with all namespaces watched, name is "namespace/name".
func (n *Namespace) Get(kind, name string) (any, bool) {
	informer := map[string]cache.SharedIndexInformer{
		"Pod": n.pods, "Service": n.services, "PersistentVolumeClaim": n.claims, "ReplicaSet": n.replicaSets,
		"Deployment": n.deployments, "StatefulSet": n.statefulSets, "DaemonSet": n.daemonSets,
		"Job": n.jobs, "CronJob": n.cronJobs, "EndpointSlice": n.endpointSlices,
	}[kind]
	if informer == nil {
		return nil, false
	}
	if n.Name != "" && !strings.Contains(name, "/") {
		name = n.Name + "/" + name
	}
	obj, ok, err := informer.GetStore().GetByKey(name)
	return obj, ok && err == nil
}

func list[T meta1](informer cache.SharedIndexInformer) []T {
	return sorted[T](informer.GetStore().List())
}

func sorted[T meta1](objs []any) []T {
	out := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		if c := strings.Compare(a.GetNamespace(), b.GetNamespace()); c != 0 {
			return c
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	return out
}

// meta1 is what sorting needs of an object.
type meta1 interface {
	GetName() string
	GetNamespace() string
}

func joinKeys[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
