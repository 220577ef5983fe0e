package kube

import (
	"bufio"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

// The first streams have a connection each, those beyond share one, and one that is
// closed makes room for another.
func TestStreams(t *testing.T) {
	var mu sync.Mutex
	connections, resumed := map[string]int{}, 0 // requests by connection of HTTP/1.1
	end := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if r.ProtoMajor == 1 {
			connections[r.RemoteAddr]++
			if r.TLS.DidResume {
				resumed++
			}
		}
		mu.Unlock()
		_, _ = io.WriteString(w, r.Proto+"\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer close(end)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := ForConfig(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	open := func() (io.ReadCloser, string) {
		t.Helper()
		s, err := c.Streams().CoreV1().Pods("a").GetLogs("b", &corev1.PodLogOptions{}).Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(s).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return s, line
	}
	var all []io.ReadCloser
	defer func() {
		for _, s := range all {
			s.Close()
		}
	}()
	for i := range ownConnections + 3 {
		s, proto := open()
		all = append(all, s)
		if want := map[bool]string{true: "HTTP/1.1\n", false: "HTTP/2.0\n"}[i < ownConnections]; proto != want {
			t.Fatalf("stream %d came by %q", i, proto)
		}
	}
	mu.Lock()
	if len(connections) != ownConnections || resumed < ownConnections-2 {
		t.Errorf("%d connections, %d of them by a session that was there", len(connections), resumed)
	}
	mu.Unlock()
	all[0].Close()
	all[0].Close() // twice is once
	s, proto := open()
	all = append(all, s)
	if proto != "HTTP/1.1\n" {
		t.Errorf("there is room for one, and it came by %q", proto)
	}
	s, proto = open()
	all = append(all, s)
	if proto != "HTTP/2.0\n" {
		t.Errorf("there is no room, and it came by %q", proto)
	}
}

// What was put together by hand has Core alone.
func TestStreamsOfAClientByHand(t *testing.T) {
	c := &Client{}
	if c.Streams() != c.Core {
		t.Error("another client than Core")
	}
	c.Close()
}
