package testkube

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Server is a fake API server on a loopback address.
type Server struct {
	http    *httptest.Server
	objects *objects

	mu       sync.Mutex
	logs     map[string]*Log
	denied   map[string]bool // "verb resource"
	down     bool
	requests []string
	stopped  chan struct{}
}

// Start starts a server; the caller closes it.
func Start() *Server {
	s := &Server{
		objects: &objects{byKey: map[string]*unstructured.Unstructured{}, watchers: map[*watcher]bool{}},
		logs:    map[string]*Log{},
		denied:  map[string]bool{},
		stopped: make(chan struct{}),
	}
	s.http = httptest.NewUnstartedServer(s.handler())
	s.http.EnableHTTP2 = true
	// As many streams on a connection as an API server allows (Kubernetes 1.29 and later).
	s.http.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
	// What a client does to its own connections is no news.
	s.http.Config.ErrorLog = discardLog()
	s.http.StartTLS()
	return s
}

// Close ends every stream and the server.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.stopped:
	default:
		close(s.stopped)
	}
	s.mu.Unlock()
	s.http.CloseClientConnections()
	s.http.Close()
}

// Config is a client's configuration for the server.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host:            s.http.URL,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca()},
		QPS:             -1,
	}
}

func (s *Server) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Kubeconfig writes a kubeconfig into dir with one context and returns its path.
func (s *Server) Kubeconfig(dir, context, namespace string) (string, error) {
	c := clientcmdapi.NewConfig()
	c.Clusters[context] = &clientcmdapi.Cluster{Server: s.http.URL, CertificateAuthorityData: s.ca()}
	c.AuthInfos[context] = &clientcmdapi.AuthInfo{Token: "fake"} // kubectl asks for a name without one
	c.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: context, Namespace: namespace}
	c.CurrentContext = context
	path := filepath.Join(dir, "kubeconfig-"+context)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return path, clientcmd.WriteToFile(*c, path)
}

// Put adds an object or replaces it. UID and resource version are the server's when
// they are empty.
func (s *Server) Put(obj runtime.Object) error {
	u, res, err := toUnstructured(obj)
	if err != nil {
		return err
	}
	s.objects.put(u, res)
	return nil
}

// Delete removes an object of a kind served here: "pods", "web-0".
func (s *Server) Delete(plural, group, namespace, name string) bool {
	res := byPlural(group, plural)
	return res != nil && s.objects.remove(res, namespace, name)
}

// Log is the log of a container.
func (s *Server) Log(namespace, pod, container string) *Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := namespace + "/" + pod + "/" + container
	if s.logs[k] == nil {
		s.logs[k] = newLog()
	}
	return s.logs[k]
}

// Deny answers requests of a verb (get, list, watch) for a resource ("pods",
// "pods/log") with 403.
func (s *Server) Deny(verb, resource string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[verb+" "+resource] = true
}

// Down makes the server answer nothing: each connection is closed at once. Up ends it.
func (s *Server) Down() {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// Up ends Down.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
}

// Drop breaks every connection, as a restart of the API server does.
func (s *Server) Drop() { s.http.CloseClientConnections() }

// Requests are the paths and queries asked for so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.http.Listener.Addr() }
