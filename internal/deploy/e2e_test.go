//go:build e2e

package deploy

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/internal/kube"
)

// patience bounds every wait: far more than anything takes on a slow machine.
const patience = 3 * time.Minute

var (
	client *kube.Client
	spy    = &requests{}

	testCluster *cluster.Cluster
)

func TestMain(m *testing.M) {
	os.Exit(clustertest.Run(m, func(c *kube.Client, on *cluster.Cluster) {
		testCluster = on
		config := rest.CopyConfig(c.Config)
		config.Wrap(spy.wrap)
		var err error
		if client, err = kube.ForConfig(config); err != nil {
			panic(err)
		}
	}))
}

// requests keeps what is sent to the API server.
type requests struct {
	mu   sync.Mutex
	list []string
	hook func(*http.Request) error
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (s *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		s.mu.Lock()
		s.list = append(s.list, r.Method+" "+r.URL.Path)
		hook := s.hook
		s.mu.Unlock()
		if hook != nil {
			if err := hook(r); err != nil {
				return nil, err
			}
		}
		return next.RoundTrip(r)
	})
}

func (s *requests) reset(hook func(*http.Request) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list, s.hook = nil, hook
}

// writes are the requests since reset that are no reads.
func (s *requests) writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.list {
		if !strings.HasPrefix(r, "GET ") {
			out = append(out, r)
		}
	}
	return out
}

func (s *requests) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// deployer works in a namespace of its own that is gone after the test.
func deployer(t *testing.T) *Deployer {
	t.Helper()
	name := "e2e-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		now := int64(0)
		_ = client.Core.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		if err := client.Core.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	d := newDeployer(name)
	t.Cleanup(d.Close)
	return d
}

func newDeployer(namespace string) *Deployer {
	return New(client, Options{Project: "shop", Namespace: namespace, Root: "/src/shop"})
}

func objects(t *testing.T, text string) []*Object { return parse(t, text) }

func render(t *testing.T, files ...string) []*Object {
	t.Helper()
	m, err := Render(t.Context(), ".", []Source{{YAML: files}})
	if err != nil {
		t.Fatal(err)
	}
	return m.Objects
}

func apply(t *testing.T, d *Deployer, objects []*Object) *Applied {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	applied, err := d.Apply(ctx, Copy(objects))
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// What is applied a second time writes nothing, whatever form the API server
// gave it.
func TestUnchangedWritesNothing(t *testing.T) {
	d := deployer(t)
	objects := render(t, "testdata/traps.yaml")
	first := apply(t, d, objects)
	if len(first.Created) != len(objects) {
		t.Errorf("created %d of %d: %v", len(first.Created), len(objects), first)
	}
	spy.reset(nil)
	again := apply(t, d, objects)
	if w := spy.writes(); len(w) > 0 {
		t.Errorf("the second time wrote:\n%s", strings.Join(w, "\n"))
	}
	if len(again.Unchanged) != len(objects) {
		t.Errorf("changed %v", again.Changed)
	}
	report, err := d.Down(t.Context(), DownOptions{Volumes: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", report)
}

const smallService = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: a, image: "debian:bookworm-slim", resources: {limits: {cpu: 0.5}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: NAME}
stringData: {a: b}
`

func TestHundredUnchanged(t *testing.T) {
	d := deployer(t)
	var all []*Object
	for i := range 25 {
		all = append(all, objects(t, strings.ReplaceAll(smallService, "NAME", fmt.Sprintf("svc-%02d", i)))...)
	}
	spy.reset(nil)
	started := time.Now()
	apply(t, d, all)
	t.Logf("100 objects from nothing: %s, %d requests", time.Since(started).Round(time.Millisecond), spy.count())
	for range 3 {
		spy.reset(nil)
		started = time.Now()
		apply(t, d, all)
		t.Logf("100 unchanged: %s, %d requests, %d writes", time.Since(started).Round(time.Millisecond), spy.count(), len(spy.writes()))
	}
	if w := spy.writes(); len(w) > 0 {
		t.Errorf("wrote %v", w)
	}
	all[2].Object["data"] = map[string]any{"a": "c"}
	spy.reset(nil)
	started = time.Now()
	applied := apply(t, d, all)
	t.Logf("one changed: %s, %d requests, %d writes: %v", time.Since(started).Round(time.Millisecond), spy.count(), len(spy.writes()), applied.Changed)
	started = time.Now()
	report, err := d.Down(t.Context(), DownOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("down: %s, %d removed, namespace %v", time.Since(started).Round(time.Millisecond), len(report.Removed), report.Namespace)
	if len(report.Removed) != 100 || !report.Namespace {
		t.Errorf("%+v", report)
	}
}

// watching is a live namespace of one test.
type watching struct{ *kube.Namespace }

// watched waits until the namespace's live state is as a test wants it.
func watched(t *testing.T, d *Deployer, until func(*watching) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	live, err := kube.Watch(ctx, client, d.options.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	for !until(&watching{live}) {
		select {
		case <-live.Changed():
		case <-ctx.Done():
			t.Fatalf("it did not come to this within %s", patience)
		}
	}
}
