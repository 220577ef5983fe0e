//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/moby/client"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/registry"
)

// TestPullThrough runs images of a registry that only this machine trusts and, for one
// of them, is let in by. They are fetched once: a node that lost them gets them again
// while that registry is away.
func TestPullThrough(t *testing.T) {
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	up := serveUpstream(t, docker)
	public, private := up.publish("lib/app"), up.publish("private/app")

	was := environ
	defer func() { environ = was }()
	environ = append(slices.Clone(was), "SSL_CERT_FILE="+up.roots)
	login := filepath.Join(homeDir, ".docker", "config.json")
	if err := os.MkdirAll(filepath.Dir(login), 0o700); err != nil {
		t.Fatal(err)
	}
	// "me:secret"
	if err := os.WriteFile(login, []byte(`{"auths":{"`+up.host+`":{"auth":"bWU6c2VjcmV0"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(login)

	dir := t.TempDir()
	manifest := ""
	for name, image := range map[string]string{"public": "lib/app:1", "private": "private/app:1"} {
		manifest += "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {selector: {matchLabels: {app: " + name + "}}, " +
			"template: {metadata: {labels: {app: " + name + "}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: app, image: '" + up.host + "/" + image + "', command: [sleep, infinity]}]}}}\n"
	}
	for file, text := range map[string]string{"kdev.yaml": "name: pulled\nmanifests: {yaml: [app.yaml]}\n", "app.yaml": manifest} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { code(t, dir, "down") })
	if code, out := code(t, dir, "up", "--until", "ready", "--timeout", "2m"); code != 0 {
		t.Fatalf("up: %d\n%s", code, out)
	}
	for _, im := range []published{public, private} {
		for _, d := range im.blobs {
			if n := up.count("GET", d); n != 1 {
				t.Errorf("%s was fetched %d times", d, n)
			}
		}
		if n := up.count("", im.elsewhere); n > 0 {
			t.Errorf("the image of another platform was asked for %d times", n)
		}
	}
	t.Logf("%d requests:\n%s", len(up.log()), strings.Join(up.log(), "\n"))

	// Without its registry, on a node that has lost them.
	up.close()
	if code, out := code(t, dir, "down"); code != 0 {
		t.Fatalf("down: %d\n%s", code, out)
	}
	var refs []string
	for _, repo := range []string{"lib/app", "private/app"} {
		refs = append(refs, up.host+"/"+repo+":1")
	}
	for _, line := range strings.Split(inNode(t, docker, "ctr", "-n", "k8s.io", "images", "ls", "-q"), "\n") {
		if strings.HasPrefix(line, up.host) && !slices.Contains(refs, line) {
			refs = append(refs, line)
		}
		for _, im := range []published{public, private} {
			if line == im.config {
				refs = append(refs, line)
			}
		}
	}
	inNode(t, docker, append([]string{"ctr", "-n", "k8s.io", "images", "rm", "--sync"}, refs...)...)
	if code, out := code(t, dir, "up", "--until", "ready", "--timeout", "2m"); code != 0 {
		t.Fatalf("up without the registry: %d\n%s", code, out)
	}
	events, err := api.CoreV1().Events("pulled").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pulls := 0
	for _, e := range events.Items {
		if e.Reason == "Pulled" && strings.HasPrefix(e.Message, "Successfully pulled") {
			pulls++
		}
	}
	if pulls < 2 {
		t.Errorf("%d images were pulled without their registry", pulls)
	}
}

// An upstream is a registry with a certificate of a private authority, on this machine
// as the nodes see it.
type upstream struct {
	t      *testing.T
	host   string
	roots  string // file
	store  *registry.Store
	server *http.Server
	ended  chan error

	mu    sync.Mutex
	asked []string
}

// published is an index of two platforms.
type published struct {
	blobs     []string // of this machine's platform
	config    string
	elsewhere string // the other platform's manifest
}

func serveUpstream(t *testing.T, docker *client.Client) *upstream {
	t.Helper()
	network, err := docker.NetworkInspect(t.Context(), "kind", client.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gateway := ""
	for _, c := range network.Network.IPAM.Config {
		if c.Gateway.Is4() {
			gateway = c.Gateway.String()
		}
	}
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{t: t, host: gateway + ":" + port, store: store, ended: make(chan error, 1)}
	certificate := u.certify(net.ParseIP(gateway))
	inner := registry.Handler(store, registry.HandlerOptions{})
	u.server = &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, ErrorLog: log.New(io.Discard, "", 0), // the node does not trust it
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			u.mu.Lock()
			u.asked = append(u.asked, r.Method+" "+r.URL.Path)
			u.mu.Unlock()
			if (strings.HasPrefix(r.URL.Path, "/v2/private/") || r.URL.Path == "/v2/") && password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			inner.ServeHTTP(w, r)
		})}
	go func() { u.ended <- u.server.ServeTLS(listener, "", "") }()
	t.Cleanup(u.close)
	return u
}

func (u *upstream) close() {
	if u.server == nil {
		return
	}
	_ = u.server.Close()
	if err := <-u.ended; !errors.Is(err, http.ErrServerClosed) {
		u.t.Error(err)
	}
	u.server = nil
}

func (u *upstream) certify(ip net.IP) tls.Certificate {
	u.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		u.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		u.t.Fatal(err)
	}
	u.roots = filepath.Join(u.t.TempDir(), "roots.pem")
	if err := os.WriteFile(u.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		u.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// publish makes an image that can run, with a layer that no node has.
func (u *upstream) publish(repository string) published {
	u.t.Helper()
	check := func(err error) {
		u.t.Helper()
		if err != nil {
			u.t.Fatal(err)
		}
	}
	docker, err := client.New(client.FromEnv)
	check(err)
	defer docker.Close()
	saved, err := docker.ImageSave(u.t.Context(), []string{"busybox:1"})
	check(err)
	defer saved.Close()
	path := filepath.Join(u.t.TempDir(), "busybox.tar")
	file, err := os.Create(path)
	check(err)
	_, err = io.Copy(file, saved)
	check(err)
	check(file.Close())
	tag, err := name.NewTag("busybox:1")
	check(err)
	base, err := tarball.ImageFromPath(path, &tag)
	check(err)
	fresh, err := random.Layer(2<<20, types.DockerLayer)
	check(err)
	image, err := mutate.AppendLayers(base, fresh)
	check(err)
	other, err := random.Image(1<<10, 1)
	check(err)
	var p published
	config, err := image.ConfigFile()
	check(err)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: config.Architecture}}},
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
	for _, im := range []v1.Image{image, other} {
		_, err := u.store.PutImage(u.t.Context(), repository, "", im)
		check(err)
	}
	raw, err := index.RawManifest()
	check(err)
	_, err = u.store.PutManifest(repository, "1", string(types.OCIImageIndex), raw)
	check(err)
	layers, err := image.Layers()
	check(err)
	for _, l := range layers[len(layers)-1:] { // the node may have busybox's
		d, err := l.Digest()
		check(err)
		p.blobs = append(p.blobs, d.String())
	}
	id, err := image.ConfigName()
	check(err)
	p.blobs, p.config = append(p.blobs, id.String()), id.String()
	away, err := other.Digest()
	check(err)
	p.elsewhere = away.String()
	return p
}

func (u *upstream) log() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.asked)
}

func (u *upstream) count(method, text string) int {
	n := 0
	for _, line := range u.log() {
		if strings.HasPrefix(line, method) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// inNode runs a command on the suite's node and returns what it prints.
func inNode(t *testing.T, docker *client.Client, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	created, err := docker.ExecCreate(ctx, clusterName+"-control-plane", client.ExecCreateOptions{AttachStdout: true, TTY: true, Cmd: command})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := docker.ExecAttach(ctx, created.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	out, err := io.ReadAll(stream.Reader)
	if err != nil {
		t.Fatal(err)
	}
	done, err := docker.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil || done.ExitCode != 0 {
		t.Fatalf("%s: %d %v\n%s", strings.Join(command, " "), done.ExitCode, err, out)
	}
	return strings.ReplaceAll(string(out), "\r", "")
}
