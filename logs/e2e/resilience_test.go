//go:build e2e

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// What breaks streams: each while three containers write, held against what the node's
// runtime wrote.
func TestNothingIsLostWhenStreamsBreak(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(*testing.T, *tail) // what happens, and the wait until it has
	}{
		{"the API server restarts", func(t *testing.T, _ *tail) { restart(t, "pkill -KILL kube-apiserver") }},
		{"the kubelet restarts", func(t *testing.T, _ *tail) { restart(t, "systemctl restart kubelet") }},
		{"the process is suspended", func(t *testing.T, p *tail) {
			for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
				if err := p.cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				if s == syscall.SIGSTOP {
					// A while of writing that nobody reads.
					if _, err := onNode(t.Context(), "sleep 5"); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := newNamespace(t)
			truth := newOracle(t, ns)
			for _, name := range []string{"a", "b", "c"} {
				makePod(t, ns, name, podSpec(container("app", talk(12_000, 4, 100, stay))))
			}
			awaitPods(t, ns, "all run", allRun(3))
			p := logs(t, ns, ".")
			p.expect("line 200 of a", "line 200 of b", "line 200 of c")
			tt.after(t, p)
			p.await("the last lines", func(out string) bool { return strings.Count(out, "Z done\n") == 3 })
			p.interrupt()
			if err := deleteAll(ns); err != nil {
				t.Fatal(err)
			}
			awaitPods(t, ns, "no pod is left", none)
			want := truth.stop()
			for key, lines := range want {
				// Behind "done" the containers say only what their end makes them say.
				for i, l := range lines {
					if l.text == "done" {
						want[key] = lines[:i+1]
					}
				}
			}
			same(t, want, p.shown())
		})
	}
}

// restart breaks something on the node and waits until the API answers as before.
func restart(t *testing.T, script string) {
	t.Helper()
	if _, err := onNode(t.Context(), script); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := client.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the API does not come back: %v", script, err)
		}
	}
}

// The kubelet rotates a log at 10 MiB. A stream that has read all of the old file waits for
// the new one and goes on with that: what was written to the old one meanwhile, until the
// runtime let go of it, is lost to this stream, and not to one that lags behind (ReadLogs
// in k8s.io/cri-client/pkg/logs). So what kdev shows is held against what came through its
// own stream, and against a stream beside it only where it has opened its own again.
func TestRotation(t *testing.T) {
	ns := newNamespace(t)
	// 40 MB in some 40 s: the kubelet looks at the size every ten.
	const count = 40_000
	makePod(t, ns, "big", podSpec(container("app", steady(count, 1000, 1000))))
	awaitPods(t, ns, "it runs", allRun(1))
	between := newRecorder(t)
	shown, direct := newTally(), newTally()
	p := logs(t, ns, "--kubeconfig", between.kubeconfig, ".")
	readDirectly(t.Context(), t, ns, "big", count, direct)
	p.expect("line 40000 of big")
	p.interrupt()
	for _, lines := range p.shown() {
		for _, l := range lines {
			shown.add(l.text)
		}
	}
	for _, w := range shown.wrong {
		t.Error(w)
	}
	heard, streams := between.logs()
	lost, skipped, kubelet := 0, 0, 0
	for n := 1; n <= count; n++ {
		switch {
		case shown.has("big", n):
		case heard.has("big", n):
			lost++
		case direct.has("big", n):
			skipped++
		default:
			kubelet++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d lines came and are not shown", lost, count)
	}
	if skipped > 0 && streams > 1 {
		t.Errorf("%d of %d lines are missing that a stream beside had; kdev read %d streams", skipped, count, streams)
	}
	if files, err := onNode(t.Context(), "ls /var/log/pods/"+ns+"_big_*/app"); err != nil || len(strings.Fields(files)) < 2 {
		t.Errorf("nothing was rotated: %v\n%s", err, files)
	}
	t.Logf("%d lines in %d streams; the kubelet gave nobody %d, and %d to a stream beside alone", shown.total, streams, kubelet, skipped)
}

// A user who may read pods and their logs in one namespace, and nothing else, sees them.
func TestFewRights(t *testing.T) {
	ns := newNamespace(t)
	makeDeployment(t, ns, "web", 1, podSpec(container("app", talk(20, 20, 40, stay))))
	awaitPods(t, ns, "it runs", allRun(1))
	few := fewRights(t, ns)
	for _, query := range []string{".", "deploy/web"} {
		p := command(t, binary, "logs", "--kubeconfig", few, "-n", ns, query)
		p.expect("line 20 of web-")
		p.interrupt()
	}
	p := command(t, binary, "logs", "--kubeconfig", few, "-n", ns, ".", "--events")
	p.expect("line 20 of web-")
	p.interrupt()
	if !strings.Contains(p.err.String(), "events are not shown") {
		t.Errorf("stderr does not say that events may not be read:\n%s", p.err)
	}
	p = command(t, binary, "logs", "--kubeconfig", few, "-A", ".")
	if code := p.code(); code != 1 || !strings.Contains(p.err.String(), "may not list and watch pods") {
		t.Errorf("all namespaces: exit code %d\n%s", code, p.err)
	}
}

// fewRights writes the kubeconfig of such a user.
func fewRights(t *testing.T, ns string) string {
	t.Helper()
	ctx, core, rbac := t.Context(), client.Core.CoreV1(), client.Core.RbacV1()
	name := metav1.ObjectMeta{Name: "reader"}
	if _, err := core.ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: name}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: name,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "reader"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := core.ServiceAccounts(ns).CreateToken(ctx, "reader", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig(t, map[string]*clientcmdapi.AuthInfo{"few": {Token: token.Status.Token}})
}

// kubeconfig writes one with a context for each user.
func kubeconfig(t *testing.T, users map[string]*clientcmdapi.AuthInfo) string {
	t.Helper()
	have, err := clientcmd.LoadFromFile(config)
	if err != nil {
		t.Fatal(err)
	}
	from := have.Contexts[have.CurrentContext]
	c := clientcmdapi.NewConfig()
	c.Clusters["cluster"] = have.Clusters[from.Cluster]
	for name, user := range users {
		if user == nil {
			user = have.AuthInfos[from.AuthInfo]
		}
		c.AuthInfos[name] = user
		c.Contexts[name] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: name}
		c.CurrentContext = name
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Several contexts are read side by side, each named in front of its lines.
func TestSeveralContexts(t *testing.T) {
	ns := newNamespace(t)
	makePod(t, ns, "web", podSpec(container("app", talk(3, 3, 40, stay))))
	awaitPods(t, ns, "it runs", allRun(1))
	both := kubeconfig(t, map[string]*clientcmdapi.AuthInfo{"one": nil, "two": nil})
	p := command(t, binary, "logs", "--kubeconfig", both, "--context", "one", "--context", "two", "-n", ns, ".")
	p.expect("one web app line 3 of web", "two web app line 3 of web")
	p.interrupt()
}
