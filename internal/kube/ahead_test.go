package kube

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestLimitAhead: a server can send an answer that nobody reads only so far.
func TestLimitAhead(t *testing.T) {
	const limit = 64 << 10
	sent := make(chan int, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		total, out := 0, http.NewResponseController(w)
		for {
			if err := out.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
				t.Error(err)
			}
			n, err := w.Write(make([]byte, 1<<10))
			if err == nil {
				err = out.Flush()
			}
			if err != nil || total > 8<<20 {
				sent <- total
				return
			}
			total += n
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := ForConfig(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.LimitAhead(limit)
	resp, err := c.http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Fatalf("the server speaks %s", resp.Proto)
	}
	if n := <-sent; n > 2*limit {
		t.Errorf("%d bytes were sent ahead, want at most some %d", n, limit)
	}
}
