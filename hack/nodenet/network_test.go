package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorder stands for ip and iptables.
type recorder struct {
	lines []string
	fail  map[string]error // by a part of the line
}

func (r *recorder) run(_ context.Context, name string, args ...string) error {
	line := name + " " + strings.Join(args, " ")
	r.lines = append(r.lines, line)
	for part, err := range r.fail {
		if strings.Contains(line, part) {
			return err
		}
	}
	return nil
}

func (r *recorder) take() []string {
	defer func() { r.lines = nil }()
	return r.lines
}

func TestRoutesFollowTheNodes(t *testing.T) {
	r := &recorder{}
	n := &network{node: "a", run: r.run}
	for _, c := range []struct {
		name string
		want map[string]string
		says []string
	}{
		{"the first time clears what an earlier process left", map[string]string{"10.0.1.0/24": "172.0.0.2"},
			[]string{"ip -4 route flush proto 86", "ip route replace 10.0.1.0/24 via 172.0.0.2 proto 86"}},
		{"nothing changed", map[string]string{"10.0.1.0/24": "172.0.0.2"}, nil},
		{"another address", map[string]string{"10.0.1.0/24": "172.0.0.9"}, []string{"ip route replace 10.0.1.0/24 via 172.0.0.9 proto 86"}},
		{"one goes, one comes", map[string]string{"10.0.2.0/24": "172.0.0.3"},
			[]string{"ip route del 10.0.1.0/24 proto 86", "ip route replace 10.0.2.0/24 via 172.0.0.3 proto 86"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := n.route(context.Background(), c.want); err != nil {
				t.Fatal(err)
			}
			if said := r.take(); !slices.Equal(said, c.says) {
				t.Errorf("got %q, want %q", said, c.says)
			}
		})
	}
	// What failed is tried again.
	r.fail = map[string]error{"replace": errors.New("unreachable")}
	if err := n.route(context.Background(), map[string]string{"10.0.3.0/24": "172.0.0.4"}); err == nil {
		t.Error("no error")
	}
	r.take()
	r.fail = nil
	if err := n.route(context.Background(), map[string]string{"10.0.3.0/24": "172.0.0.4"}); err != nil {
		t.Error(err)
	}
	if said := r.take(); !slices.Equal(said, []string{"ip route replace 10.0.3.0/24 via 172.0.0.4 proto 86"}) {
		t.Errorf("got %q", said)
	}
}

func TestMasqueradeIsAddedOnce(t *testing.T) {
	pods := netip.MustParsePrefix("10.244.0.0/16")
	const rule = "POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE"
	absent := &recorder{fail: map[string]error{"-C": errors.New("no such rule")}}
	n := &network{run: absent.run}
	for range 2 {
		if err := n.masquerade(context.Background(), pods); err != nil {
			t.Fatal(err)
		}
	}
	if said := absent.take(); !slices.Equal(said, []string{"iptables -w -t nat -C " + rule, "iptables -w -t nat -A " + rule}) {
		t.Errorf("got %q", said)
	}
	there := &recorder{}
	if err := (&network{run: there.run}).masquerade(context.Background(), pods); err != nil || len(there.lines) != 1 {
		t.Errorf("got %q, %v", there.lines, err)
	}
}

func TestRenderIsAConflist(t *testing.T) {
	text, err := render(netip.MustParsePrefix("10.244.3.0/24"), 1450)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		CNIVersion, Name string
		Plugins          []struct {
			Type string
			MTU  int
			IPAM struct {
				Type   string
				Ranges [][]struct{ Subnet string }
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	if list.Name == "" || list.CNIVersion == "" || len(list.Plugins) != 2 || list.Plugins[0].MTU != 1450 || list.Plugins[0].IPAM.Ranges[0][0].Subnet != "10.244.3.0/24" {
		t.Errorf("got %s", text)
	}
}

func TestFirst24(t *testing.T) {
	for in, want := range map[string]string{"10.244.0.0/16": "10.244.0.0/24", "10.0.0.0/8": "10.0.0.0/24", "192.168.4.0/25": "192.168.4.0/25"} {
		if got := first24(netip.MustParsePrefix(in)); got.String() != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestPodSubnet(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"as kind writes it", "networking:\n  podSubnet: \"10.244.0.0/16\"\n  serviceSubnet: \"10.96.0.0/16\"\n", "10.244.0.0/16"},
		{"no quotes", "  podSubnet: 10.8.0.0/14\n", "10.8.0.0/14"},
		{"not there", "networking: {}\n", ""},
		{"IPv6", "  podSubnet: \"fd00:10:244::/56\"\n", ""},
		{"two stacks: the first", "  podSubnet: \"10.244.0.0/16,fd00:10:244::/56\"\n", "10.244.0.0/16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "kubeadm.conf")
			if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := podSubnet(file)
			if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

// A stand-in API server with one node more to see for who may list them.
func TestClient(t *testing.T) {
	const self = `{"metadata":{"name":"a"},"spec":{"podCIDR":"10.0.0.0/24"},"status":{"addresses":[{"type":"Hostname","address":"a"},{"type":"InternalIP","address":"fd00::1"},{"type":"InternalIP","address":"172.0.0.1"}]}}`
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/api/v1/nodes":
			_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"7"},"items":[` + self + `]}`))
		case "/api/v1/nodes/a":
			_, _ = w.Write([]byte(self))
		case "/api/v1/nodes?watch=1&resourceVersion=7":
			_, _ = w.Write([]byte(`{"type":"ADDED","object":{"metadata":{"name":"b"}}}{"type":"BOOKMARK","object":{}}{"type":"DELETED","object":{"metadata":{"name":"b"}}}{"type":"ERROR","object":{"code":410}}`))
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	kubeconfig, certificate := filepath.Join(dir, "kubelet.conf"), filepath.Join(dir, "kubelet.pem")
	if err := os.WriteFile(kubeconfig, []byte("clusters:\n- cluster:\n    certificate-authority-data: "+ca+"\n    server: "+server.URL+"\n  name: k\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(kubeconfig, certificate); err == nil {
		t.Error("no certificate is no error")
	}
	writeCertificate(t, certificate)
	c, err := connect(kubeconfig, certificate)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	nodes, version, err := c.list(ctx)
	if err != nil || version != "7" || nodes["a"].address().String() != "172.0.0.1" || nodes["a"].Spec.PodCIDR != "10.0.0.0/24" {
		t.Errorf("list: %+v, %q, %v", nodes, version, err)
	}
	if one, err := c.get(ctx, "a"); err != nil || one.Metadata.Name != "a" {
		t.Errorf("get: %+v, %v", one, err)
	}
	if _, err := c.get(ctx, "b"); !forbidden(err) {
		t.Errorf("get another: %v", err)
	}
	var saw []string
	err = c.watch(ctx, "7", func(gone bool, one node) error {
		saw = append(saw, one.Metadata.Name+map[bool]string{true: " gone"}[gone])
		return nil
	})
	if err != nil || !slices.Equal(saw, []string{"b", "b gone"}) {
		t.Errorf("watch: %q, %v", saw, err)
	}
}
