package registry

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestRunning: without an engine, the registry is where it was made, or where the cluster
// says; one that serves another folder, or takes no writes, is not it.
func TestRunning(t *testing.T) {
	serve := func(s *Store, token string) (port string) {
		t.Helper()
		server := httptest.NewServer(Handler(s, HandlerOptions{Token: token}))
		t.Cleanup(server.Close)
		_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	open := func() (*Store, string) {
		t.Helper()
		s, err := OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Token()
		if err != nil {
			t.Fatal(err)
		}
		return s, token
	}
	store, token := open()
	other, otherToken := open()
	dead := httptest.NewServer(http.NotFoundHandler())
	_, deadPort, _ := net.SplitHostPort(strings.TrimPrefix(dead.URL, "http://"))
	dead.Close()
	ours, theirs, apart := serve(store, token), serve(other, otherToken), serve(other, token)
	for name, c := range map[string]struct {
		remembered string // port
		advertised string // ConfigMap
		host       string // of what is found; empty: nothing
		shared     bool
	}{
		"remembered":               {ours, "", "localhost:1", true},
		"advertised":               {deadPort, "host: localhost:" + ours + "\nhostFromContainerRuntime: localhost:2\nhelp: " + help, "localhost:2", true},
		"of a volume":              {apart, "", "localhost:1", false},
		"of another store":         {theirs, "", "", false},
		"advertised by others":     {deadPort, "host: localhost:" + ours, "", false},
		"advertised, damaged":      {deadPort, "host: [", "", false},
		"never made":               {"", "", "", false},
		"does not answer any more": {deadPort, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			_ = store.RemoveMeta("registry", "endpoint")
			if c.remembered != "" {
				if err := store.PutMeta("registry", "endpoint", json.RawMessage(`{"host":"localhost:1","port":`+c.remembered+`}`)); err != nil {
					t.Fatal(err)
				}
			}
			cs := fake.NewSimpleClientset()
			if c.advertised != "" {
				cs = fake.NewSimpleClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: hostingName, Namespace: hostingNamespace}, Data: map[string]string{hostingKey: c.advertised}})
			}
			ep, err := Running(t.Context(), store, cs.CoreV1())
			switch {
			case err != nil:
				t.Fatal(err)
			case (ep != nil) != (c.host != ""):
				t.Errorf("%+v", ep)
			case ep != nil && (ep.Host != c.host || ep.Shared != c.shared):
				t.Errorf("%+v", ep)
			}
			if known := Known(store); c.remembered != "" && known.PushHost != "127.0.0.1:"+c.remembered {
				t.Errorf("known at %s", known.PushHost)
			}
		})
	}
}
