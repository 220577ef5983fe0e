package kube

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// WatchSecrets calls handle for every Secret of the namespaces, and for each as it
// becomes, from one goroutine at a time, until ctx is done; wait waits for that. It
// returns when handle has had those that are there. Its error says why they cannot be
// read, where RBAC forbids it for example; a watch that is lost later mends itself.
func WatchSecrets(ctx context.Context, client kubernetes.Interface, namespaces []string, handle func(*corev1.Secret)) (wait func(), err error) {
	ctx = klog.NewContext(ctx, logr.Discard()) // client-go tells each lost watch to stderr
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() {
		if err != nil {
			cancel()
			running.Wait()
		}
	}()
	var one sync.Mutex
	give := func(obj any) {
		if s, ok := obj.(*corev1.Secret); ok {
			one.Lock()
			defer one.Unlock()
			handle(s)
		}
	}
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	var given []cache.DoneChecker
	for _, namespace := range namespaces {
		informer := cache.NewSharedIndexInformer(secretsOf(client, namespace, fail), &corev1.Secret{}, 0, cache.Indexers{})
		if err := informer.SetTransform(dropManagedFields); err != nil {
			return nil, fmt.Errorf("watch secrets: %w", err)
		}
		if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) { fail(err) }); err != nil {
			return nil, fmt.Errorf("watch secrets: %w", err)
		}
		handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: give, UpdateFunc: func(_, now any) { give(now) }})
		if err != nil {
			return nil, fmt.Errorf("watch secrets: %w", err)
		}
		given = append(given, handler.HasSyncedChecker())
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	for _, done := range given {
		select {
		case <-done.Done():
		case err := <-failed:
			return nil, fmt.Errorf("watch secrets: %w", err)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() { running.Wait(); cancel() }, nil
}

// secretsOf lists and watches the Secrets of a namespace. refused is told when no server
// listens: client-go asks again for ever then, and tells its error handler nothing.
func secretsOf(client kubernetes.Interface, namespace string, refused func(error)) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.CoreV1().Secrets(namespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := client.CoreV1().Secrets(namespace).Watch(ctx, o)
			if utilnet.IsConnectionRefused(err) {
				refused(err)
			}
			return w, err
		},
	}, client)
}
