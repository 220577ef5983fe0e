package registry

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/problem"
)

// aCluster answers for one ConfigMap and counts the writes.
type aCluster struct {
	mu     sync.Mutex
	cm     *corev1.ConfigMap
	writes int
}

func (c *aCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodGet {
		c.writes++
		b, _ := io.ReadAll(r.Body)
		c.cm = &corev1.ConfigMap{}
		if err := json.Unmarshal(b, c.cm); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if c.cm == nil {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404})
		return
	}
	c.cm.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
	_ = json.NewEncoder(w).Encode(c.cm)
}

func TestAdvertise(t *testing.T) {
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer alive.Close()
	aliveHost := strings.TrimPrefix(alive.URL, "http://")
	dead := httptest.NewServer(nil)
	deadHost := strings.TrimPrefix(dead.URL, "http://")
	dead.Close()
	ep := &Endpoint{Host: "localhost:5001", PushHost: "127.0.0.1:5002", Container: "kdev-registry"}
	for name, c := range map[string]struct {
		have, want string
		writes     int
	}{
		"nothing there":   {"", "localhost:5001", 1},
		"ours":            {"host: localhost:5002\nhostFromContainerRuntime: localhost:5001\nhostFromClusterNetwork: kdev-registry:5000\nhelp: " + help, "localhost:5001", 0},
		"ours, old port":  {"host: localhost:5001\nhostFromContainerRuntime: localhost:5001\nhelp: " + help, "localhost:5001", 1},
		"another, alive":  {"host: " + aliveHost, "", 0},
		"another, dead":   {"host: " + deadHost, "", 0},
		"damaged":         {"host: [oops", "-", 0},
		"no document":     {"just a string", "-", 0},
		"of nobody":       {"{}", "", 0},
		"another version": {"-", "localhost:5001", 1},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &aCluster{}
			if c.have != "" {
				cluster.cm = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: hostingName, Namespace: hostingNamespace}, Data: map[string]string{hostingKey: c.have, "other": "kept"}}
				if c.have == "-" {
					delete(cluster.cm.Data, hostingKey)
				}
			}
			server := httptest.NewServer(cluster)
			defer server.Close()
			cs, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := ep.advertise(t.Context(), cs.CoreV1()); err != nil {
				t.Fatal(err)
			}
			if cluster.writes != c.writes {
				t.Errorf("%d writes, want %d", cluster.writes, c.writes)
			}
			h, err := ReadHosting(t.Context(), cs.CoreV1())
			if p := problem.As(err); c.want == "-" && p != nil && p.Code == "registry-hosting-invalid" && cluster.cm.Data[hostingKey] == c.have {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.HostFromContainerRuntime != c.want {
				t.Errorf("%+v, want %q", h, c.want)
			}
			if c.have != "" && cluster.cm.Data["other"] != "kept" {
				t.Error("a key of somebody else is gone")
			}
		})
	}
}

// Only other tools read the ConfigMap, so that a user of one namespace deploys without it.
func TestAdvertiseByWhoMayNot(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonForbidden, Code: 403})
	}))
	defer server.Close()
	cs, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	ep := &Endpoint{Host: "localhost:5001", PushHost: "127.0.0.1:5002", Container: "kdev-registry"}
	if err := ep.advertise(t.Context(), cs.CoreV1()); err != nil {
		t.Error(err)
	}
}

// A registry of somebody else may speak TLS or not, whatever it is called.
func TestScheme(t *testing.T) {
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	plain, secure, other := httptest.NewServer(answers), httptest.NewUnstartedServer(answers), httptest.NewServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that were refused
	secure.StartTLS()
	dead := httptest.NewServer(nil)
	dead.Close()
	for url, want := range map[string]string{plain.URL: "http", secure.URL: "https", other.URL: "", dead.URL: ""} {
		_, host, _ := strings.Cut(url, "://")
		if got := (&Hosting{Host: host}).Scheme(t.Context()); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	for _, s := range []*httptest.Server{plain, secure, other} {
		s.Close()
	}
}

func TestReadHosting(t *testing.T) {
	for text, code := range map[string]string{"host: x": "", "host: [": "registry-hosting-invalid", "just a string": "registry-hosting-invalid", "\"host: [oops\"": "registry-hosting-invalid", "host: {a: b}": "registry-hosting-invalid"} {
		_, err := parseHosting(&corev1.ConfigMap{Data: map[string]string{hostingKey: text}})
		p := problem.As(err)
		if (p == nil) != (code == "") || p != nil && p.Code != code {
			t.Errorf("%q: %v, want %q", text, err, code)
		}
	}
}

func FuzzHosting(f *testing.F) {
	f.Add("host: localhost:5001\nhelp: x")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseHosting(&corev1.ConfigMap{Data: map[string]string{hostingKey: text}})
	})
}
