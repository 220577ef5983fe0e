package session

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/kube"
)

// TestRouterFollowsPods: a request that comes between two pods is answered by the
// next one, on the port that its Service means.
func TestRouterFollowsPods(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	pod := func(name string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	api := fake.NewClientset(pod("first", corev1.ConditionTrue), pod("broken", corev1.ConditionFalse), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}},
		},
	})
	live, err := kube.Watch(ctx, &kube.Client{Core: api}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); live.Wait() })

	l := routed(t, 20280)
	l.s.parts.Live = live
	reached := make(chan podPort, 1)
	l.s.front.pod = func(ctx context.Context, to podPort) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		served := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, to.pod) }))
		served.Listener.Close()
		served.Listener = &one{conn: theirs, gone: make(chan struct{})}
		served.Start()
		t.Cleanup(served.Close)
		reached <- to
		return ours, nil
	}
	l.route()
	get := func() string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", l.s.front.at), nil)
		if err != nil {
			t.Error(err)
			return ""
		}
		req.Host = "shop.shop.localhost"
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	if got, to := get(), <-reached; got != "first" || to.port != 8080 {
		t.Fatalf("%q of %v", got, to)
	}

	changed, stop := live.Subscribe()
	defer stop()
	pods := api.CoreV1().Pods("shop")
	if err := pods.Delete(ctx, "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, there := live.Get("Pod", "first"); there; _, there = live.Get("Pod", "first") {
		<-changed
	}
	answered := make(chan string)
	go func() { answered <- get() }()
	if _, err := pods.Create(ctx, pod("second", corev1.ConditionTrue), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got != "second" {
		t.Errorf("between two pods: %q", got)
	}
}

// one is a listener that has one connection.
type one struct {
	conn net.Conn
	gone chan struct{}
}

func (o *one) Accept() (net.Conn, error) {
	if conn := o.conn; conn != nil {
		o.conn = nil
		return conn, nil
	}
	<-o.gone
	return nil, net.ErrClosed
}

func (o *one) Close() error {
	select {
	case <-o.gone:
	default:
		close(o.gone)
	}
	return nil
}

func (o *one) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
