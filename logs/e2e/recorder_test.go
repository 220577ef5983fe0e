//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A recorder stands between kdev and the API server, and notes which lines of logs
// came through.
type recorder struct {
	kubeconfig string

	reading sync.WaitGroup
	server  *httptest.Server
	heard   *tally

	mu      sync.Mutex
	streams int // logs that the server served
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	to, err := clientcmd.BuildConfigFromFlags("", config)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(to)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(to.Host)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{kubeconfig: filepath.Join(t.TempDir(), "recorded"), heard: newTally()}
	r.server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport:      transport,
		FlushInterval:  -1,
		ModifyResponse: r.tap,
	})
	t.Cleanup(r.server.Close)
	c := clientcmdapi.NewConfig()
	c.Clusters["recorded"] = &clientcmdapi.Cluster{Server: r.server.URL}
	c.AuthInfos["recorded"] = &clientcmdapi.AuthInfo{}
	c.Contexts["recorded"] = &clientcmdapi.Context{Cluster: "recorded", AuthInfo: "recorded"}
	c.CurrentContext = "recorded"
	if err := clientcmd.WriteToFile(*c, r.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return r
}

// tap has the lines of a log counted as they pass.
func (r *recorder) tap(res *http.Response) error {
	if res.StatusCode != http.StatusOK || !strings.HasSuffix(res.Request.URL.Path, "/log") {
		return nil
	}
	r.mu.Lock()
	r.streams++
	r.mu.Unlock()
	out, in := io.Pipe()
	r.reading.Go(func() {
		_ = eachLine(out, r.heard.add)
		_, _ = io.Copy(io.Discard, out)
	})
	res.Body = &tapped{io.TeeReader(res.Body, in), res.Body, in}
	return nil
}

type tapped struct {
	io.Reader
	body io.Closer
	copy *io.PipeWriter
}

func (b *tapped) Close() error {
	_ = b.copy.Close()
	return b.body.Close()
}

// logs is what came through, once the client is gone.
func (r *recorder) logs() (heard *tally, streams int) {
	r.server.Close()
	r.reading.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard, r.streams
}
