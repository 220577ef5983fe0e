package cluster

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	stopped := kindNode("dev", "127.0.0.1:6000")
	stopped.running = false
	mini := node{name: "minikube", provider: minikube, cluster: "minikube", running: true, published: []string{"127.0.0.1:32771"}}
	for _, tc := range []struct {
		name, context, server string
		ca                    string // in the entry
		held                  string // a file of this machine, path relative to home or root, with that CA
		insecure              bool
		engine                *fakeEngine
		provider              provider // "" is not local
		why                   string
	}{
		{name: "kind", context: "kind-dev", server: "https://127.0.0.1:6000", engine: &fakeEngine{list: []node{kindNode("dev", "127.0.0.1:6000")}}, provider: kind},
		{name: "kind under another context name", context: "work", server: "https://127.0.0.1:6000", engine: &fakeEngine{list: []node{kindNode("dev", "127.0.0.1:6000")}}, provider: kind},
		{name: "kind, all addresses", context: "kind-dev", server: "https://localhost:6000", engine: &fakeEngine{list: []node{kindNode("dev", "0.0.0.0:6000 :::6000")}}, provider: kind},
		{name: "kind, IPv6", context: "kind-dev", server: "https://[::1]:6000", engine: &fakeEngine{list: []node{kindNode("dev", "[::1]:6000")}}, provider: kind},
		{name: "kind, stopped", context: "kind-dev", server: "https://127.0.0.1:6000", engine: &fakeEngine{list: []node{stopped}}, provider: kind},
		{name: "k3d", context: "k3d-dev", server: "https://0.0.0.0:6000", engine: &fakeEngine{list: []node{{name: "k3d-dev-serverlb", role: "loadbalancer", provider: k3d, cluster: "dev", running: true, published: []string{"0.0.0.0:6000"}}}}, provider: k3d},
		{name: "minikube by port", context: "minikube", server: "https://127.0.0.1:32771", engine: &fakeEngine{list: []node{mini}}, provider: minikube},
		{name: "minikube by address", context: "minikube", server: "https://192.168.49.2:8443", engine: &fakeEngine{list: []node{mini}, ips: map[string][]string{"minikube": {"192.168.49.2"}}}, provider: minikube},
		{name: "minikube in a virtual machine", context: "minikube", server: "https://192.168.39.4:8443", ca: "CA", held: "home/.minikube/ca.crt", provider: minikube},
		{name: "k3s of this machine", context: "default", server: "https://127.0.0.1:6443", ca: "CA", held: "root/var/lib/rancher/k3s/server/tls/server-ca.crt", provider: "k3s"},
		{name: "Docker Desktop", context: "docker-desktop", server: "https://kubernetes.docker.internal:6443", engine: &fakeEngine{about: info{OperatingSystem: "Docker Desktop"}}, provider: "docker-desktop"},
		{name: "OrbStack", context: "orbstack", server: "https://127.0.0.1:26443", engine: &fakeEngine{about: info{OperatingSystem: "OrbStack"}}, provider: "orbstack"},
		{name: "Rancher Desktop", context: "rancher-desktop", server: "https://127.0.0.1:6443", engine: &fakeEngine{about: info{Name: "lima-rancher-desktop"}}, provider: "rancher-desktop"},

		{name: "production", context: "prod", server: "https://prod.example.com", engine: &fakeEngine{}, why: "not an address of this machine"},
		{name: "production by public address", context: "prod", server: "https://34.1.2.3:443", engine: &fakeEngine{}, why: "not an address"},
		{name: "a tunnel to production", context: "prod", server: "https://127.0.0.1:6443", engine: &fakeEngine{list: []node{kindNode("dev", "127.0.0.1:6000")}}, why: "no node of this machine's engine publishes 127.0.0.1:6443"},
		{name: "a tunnel named as kind would", context: "kind-dev", server: "https://127.0.0.1:6443", engine: &fakeEngine{}, why: "no node"},
		{name: "a tunnel named docker-desktop", context: "docker-desktop", server: "https://127.0.0.1:6443", engine: &fakeEngine{about: info{OperatingSystem: "Debian GNU/Linux 12"}}, why: "no node"},
		{name: "same port of another host", context: "lab", server: "https://10.0.0.7:6000", engine: &fakeEngine{list: []node{kindNode("dev", "127.0.0.1:6000")}}, why: "no node"},
		{name: "a lab in a private network", context: "lab", server: "https://192.168.1.20:6443", engine: &fakeEngine{list: []node{mini}, ips: map[string][]string{"minikube": {"192.168.49.2"}}}, why: "no node"},
		{name: "same authority, certificate unchecked", context: "x", server: "https://127.0.0.1:1", ca: "CA", held: "home/.minikube/ca.crt", insecure: true, engine: &fakeEngine{}, why: "no node"},
		{name: "another authority", context: "minikube", server: "https://10.1.2.3:8443", ca: "CA", held: "", engine: &fakeEngine{}, why: "no node"},
		{name: "no engine", context: "kind-dev", server: "https://127.0.0.1:6000", why: "no container engine vouches"},
		{name: "no such context", context: "absent", server: "", engine: &fakeEngine{}, why: "no such context"},
		{name: "no address", context: "x", server: "://", engine: &fakeEngine{}, why: "is no address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "config")
			ca := ""
			if tc.ca != "" {
				write(t, filepath.Join(dir, "ca.crt"), tc.ca+"\n")
				ca = ", certificate-authority: " + filepath.Join(dir, "ca.crt")
			}
			if tc.insecure {
				ca += ", insecure-skip-tls-verify: true"
			}
			text := "apiVersion: v1\nkind: Config\n"
			if tc.server != "" {
				text += fmt.Sprintf("clusters:\n- name: c\n  cluster: {server: %q%s}\ncontexts:\n- name: %s\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {token: t}\n", tc.server, ca, tc.context)
			}
			write(t, file, text)
			m := withFakes(t, Options{Kubeconfig: file}, tc.engine, nil)
			if place, path, ok := strings.Cut(tc.held, "/"); ok {
				write(t, filepath.Join(map[string]string{"home": m.home, "root": m.root}[place], path), tc.ca)
			}
			got, err := m.locate(t.Context(), tc.context)
			if err != nil {
				t.Fatal(err)
			}
			if got.local != (tc.provider != "") || got.provider != tc.provider || !strings.Contains(got.why, tc.why) {
				t.Errorf("got %+v, want provider %q because %q", got, tc.provider, tc.why)
			}
		})
	}
}

func TestParseNodes(t *testing.T) {
	out := "web\tUp 2 hours\t0.0.0.0:80->80/tcp\t\t\t\t\t\t\n" +
		"dev-control-plane\tUp 3 minutes\t127.0.0.1:46709->6443/tcp\tdev\tcontrol-plane\t\t\t\t\n" +
		"dev-worker\tExited (130) 2 days ago\t\tdev\tworker\t<no value>\t<no value>\t\t\n" +
		"k3d-x-serverlb\tUp 1 second\t80/tcp, 0.0.0.0:6550->6443/tcp, [::]:6550->6443/tcp\t\t\tx\tloadbalancer\t\t\n" +
		"torn"
	nodes := parseNodes(out)
	var got []string
	for _, n := range nodes {
		got = append(got, fmt.Sprintf("%s %s/%s %s %s %s", n.name, n.provider, n.cluster, n.role, n.state(), strings.Join(n.published, " ")))
	}
	want := "dev-control-plane kind/dev control-plane running 127.0.0.1:46709\n" +
		"dev-worker kind/dev worker stopped \n" +
		"k3d-x-serverlb k3d/x loadbalancer running 0.0.0.0:6550 [::]:6550"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if k := names(kubelets(nodes)); len(k) != 2 {
		t.Errorf("kubelets: %v", k)
	}
	bindings := parseBindings([]byte(`{"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"46709"}],"80/tcp":null}`))
	if strings.Join(bindings, " ") != "127.0.0.1:46709" {
		t.Errorf("bindings: %v", bindings)
	}
}
