package pods

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kdev-io/kdev/internal/problem"
)

// Where says which pods are looked at; the API server selects.
type Where struct {
	Namespaces []string // "" is all
	Labels     string   // label selector
	Fields     string   // field selector
}

// A Live is the pods of some namespaces, kept by watches. It implements the
// Pods interface of package logs.
type Live struct {
	informers []cache.SharedIndexInformer
	done      chan struct{}
	failures  chan error

	mu   sync.Mutex
	subs map[int]chan struct{}
	next int
}

// Watch starts watching and returns when the first list is there. Errors of that
// first list are returned; later ones are survived, and told to lost, at most one
// for each loss.
//
// Problems: rbac-denied.
func Watch(ctx context.Context, client kubernetes.Interface, where Where, lost func(error)) (*Live, error) {
	// client-go tells each lost watch to stderr, between the lines.
	ctx = klog.NewContext(ctx, logr.Discard())
	ctx, cancel := context.WithCancel(ctx)
	l := &Live{done: make(chan struct{}), failures: make(chan error, 1), subs: map[int]chan struct{}{}}
	var synced sync.Map // informers whose first list came
	var running sync.WaitGroup
	for _, namespace := range where.Namespaces {
		refused := func(err error) { l.fail(listProblem(namespace, err)) }
		informer := cache.NewSharedIndexInformer(listWatch(client, namespace, where, refused), &corev1.Pod{}, 0, cache.Indexers{})
		if err := l.prepare(informer, namespace, &synced, lost); err != nil {
			cancel()
			return nil, err
		}
		l.informers = append(l.informers, informer)
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	go func() {
		defer cancel()
		<-ctx.Done()
		running.Wait()
		close(l.done)
	}()
	for _, informer := range l.informers {
		select {
		case <-informer.HasSyncedChecker().Done():
			synced.Store(informer, true)
		case err := <-l.failures:
			cancel()
			l.Wait()
			return nil, err
		case <-ctx.Done():
			l.Wait()
			return nil, ctx.Err()
		}
	}
	return l, nil
}

// listWatch lists and watches the pods of a namespace. refused is told when no server
// listens: client-go asks again for ever then, and tells its error handler nothing.
func listWatch(client kubernetes.Interface, namespace string, where Where, refused func(error)) cache.ListerWatcher {
	tweak := func(o *metav1.ListOptions) {
		o.LabelSelector, o.FieldSelector = where.Labels, where.Fields
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			tweak(&o)
			return client.CoreV1().Pods(namespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			tweak(&o)
			w, err := client.CoreV1().Pods(namespace).Watch(ctx, o)
			if utilnet.IsConnectionRefused(err) {
				refused(err)
			}
			return w, err
		},
	}, client)
}

func (l *Live) prepare(informer cache.SharedIndexInformer, namespace string, synced *sync.Map, lost func(error)) error {
	err := informer.SetTransform(func(obj any) (any, error) {
		if pod, ok := obj.(*corev1.Pod); ok {
			pod.ManagedFields = nil // a third of a pod, and nobody reads it
		}
		return obj, nil
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if _, later := synced.Load(informer); later {
			if lost != nil && !apierrors.IsResourceExpired(err) {
				lost(err)
			}
			return
		}
		l.fail(listProblem(namespace, err))
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { l.signal() },
		UpdateFunc: func(any, any) { l.signal() },
		DeleteFunc: func(any) { l.signal() },
	})
	return err
}

// fail ends the first list; nobody listens later.
func (l *Live) fail(err error) {
	select {
	case l.failures <- err:
	default:
	}
}

// listProblem says what keeps us from the pods.
func listProblem(namespace string, err error) error {
	where := "all namespaces"
	if namespace != "" {
		where = "namespace " + namespace
	}
	if apierrors.IsForbidden(err) {
		return &problem.Problem{Code: "rbac-denied", Where: where,
			Summary: "this user may not list and watch pods", Err: err,
			Hint: "a Role needs the verbs get, list and watch on pods, and get on pods/log"}
	}
	return fmt.Errorf("list pods in %s: %w", where, err)
}

// List returns the pods once.
func List(ctx context.Context, client kubernetes.Interface, where Where) (Fixed, error) {
	var out Fixed
	for _, namespace := range where.Namespaces {
		list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: where.Labels, FieldSelector: where.Fields})
		if err != nil {
			return nil, listProblem(namespace, err)
		}
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// Fixed are pods that do not change.
type Fixed []*corev1.Pod

// Pods returns them.
func (f Fixed) Pods() []*corev1.Pod { return f }

// Subscribe gives a signal that never comes.
func (f Fixed) Subscribe() (<-chan struct{}, func()) { return nil, func() {} }

// Pods returns the pods as they are now, sorted by namespace and name. They are
// shared: read them, never write to them.
func (l *Live) Pods() []*corev1.Pod {
	var out []*corev1.Pod
	for _, informer := range l.informers {
		for _, obj := range informer.GetStore().List() {
			if pod, ok := obj.(*corev1.Pod); ok {
				out = append(out, pod)
			}
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// Subscribe gives a coalesced change signal and the function that ends it.
func (l *Live) Subscribe() (<-chan struct{}, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, ch := l.next, make(chan struct{}, 1)
	l.next++
	l.subs[id] = ch
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, id)
	}
}

func (l *Live) signal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ch := range l.subs {
		select {
		case ch <- struct{}{}:
		default: // the last one was not looked at yet
		}
	}
}

// Wait returns when ctx of Watch is done and every goroutine has ended.
func (l *Live) Wait() { <-l.done }
