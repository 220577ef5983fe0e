package buildkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kdev-io/kdev/internal/problem"
)

// A fake answers that it is there.
type fake struct {
	controlapi.UnimplementedControlServer
}

func (fake) ListWorkers(context.Context, *controlapi.ListWorkersRequest) (*controlapi.ListWorkersResponse, error) {
	return &controlapi.ListWorkersResponse{}, nil
}

func serve(t *testing.T, l net.Listener, opts ...grpc.ServerOption) {
	t.Helper()
	s := grpc.NewServer(opts...)
	controlapi.RegisterControlServer(s, fake{})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
}

func dial(t *testing.T, o Options) error {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kit, err := s.Dial(t.Context())
	if err == nil {
		kit.Close()
	}
	return err
}

func TestOpen(t *testing.T) {
	for address, ok := range map[string]bool{
		"tcp://builder.corp:1234": true, "unix:///run/buildkit/buildkitd.sock": true, "cluster": true,
		"docker-container://kit": true, "kube-pod://kit?namespace=x&context=dev": true,
		"builder.corp:1234": false, "http://builder.corp": false, "kube-pod://": false, "kube-pod://a_b": false, "clusters": false, ":": false,
	} {
		s, err := Open(Options{Address: address})
		if p := problem.As(err); ok != (err == nil) || !ok && (p == nil || p.Code != "buildkit-address" || p.Class != problem.Usage) {
			t.Errorf("%s: %v", address, err)
		}
		if ok {
			s.Close()
		}
	}
}

func TestDial(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	if err := dial(t, Options{Address: "unix://" + dir + "/socket"}); err != nil {
		t.Error(err)
	}
	err = dial(t, Options{Address: "unix://" + dir + "/nothere"})
	p := problem.As(err)
	if p == nil || p.Code != "buildkit-missing" || !strings.Contains(p.Error(), "nothere: connect: no such file") || !strings.Contains(p.Hint, "BUILDKIT_HOST") || strings.Contains(p.Error(), "rpc error") {
		t.Errorf("%+v", p)
	}
}

func TestDialTLS(t *testing.T) {
	dir := t.TempDir()
	authority, key := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "server", authority, key)
	certificate(t, dir, "client", authority, key)
	pair, err := tls.LoadX509KeyPair(dir+"/server.pem", dir+"/server.key")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})))
	address := "tcp://" + l.Addr().String()
	full := TLS{CA: dir + "/ca.pem", Cert: dir + "/client.pem", Key: dir + "/client.key", ServerName: "builder.corp"}
	if err := dial(t, Options{Address: address, TLS: full}); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		tls  TLS
		says string
	}{
		"plain":            {TLS{}, "if it wants TLS"},
		"another name":     {TLS{CA: full.CA, Cert: full.Cert, Key: full.Key, ServerName: "other.corp"}, "buildkit.tls"},
		"no client":        {TLS{CA: full.CA, ServerName: full.ServerName}, "buildkit.tls"},
		"the system's own": {TLS{Cert: full.Cert, Key: full.Key, ServerName: full.ServerName}, "buildkit.tls"},
		"no such file":     {TLS{CA: dir + "/none"}, "buildkit.tls"},
	} {
		p := problem.As(dial(t, Options{Address: address, TLS: c.tls}))
		if p == nil || p.Code != "buildkit-missing" || !strings.Contains(p.Hint, c.says) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A server that says nothing does not hold up who gives up.
func TestDialIsCancelled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Open(Options{Address: "tcp://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if _, err := s.Dial(ctx); err != context.Canceled || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// certificate writes NAME.pem and NAME.key; without an authority it is one itself.
func certificate(t *testing.T, dir, name string, authority *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"builder.corp"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if authority == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		authority, by = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: raw}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}
