//go:build e2e

package deploy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/kube"
)

// A cause is a way for a rollout to fail, provoked on the real cluster.
type cause struct {
	code     string // that the explanation must have; "" for none
	name     string // of the workload, the fixture's second part
	kind     string // "" is Deployment
	pod      string // of the pod spec, in flow style, without containers
	run      string // of the container, in flow style
	spec     string // of the workload's spec besides
	extra    string // other manifests
	says     string // a part of the explanation
	waitsFor string // what Waiting says, where there is no problem
}

const sleeping = "command: [sleep, infinity]"

// arm64 is the head of an ELF file for another CPU; the kernel refuses it.
var arm64 = base64.StdEncoding.EncodeToString(append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00\x01\x00\x00\x00"), make([]byte, 40)...))

var causes = []cause{
	{code: "image-not-found", name: "image-missing", run: "image: registry.test:5000/missing:1", says: "registry.test:5000/missing:1"},
	{code: "image-unauthorized", name: "image-private", run: "image: registry.test:5000/private:1"},
	{code: "image-rate-limit", name: "image-limited", run: "image: registry.test:5000/limited:1"},
	{code: "registry-unreachable", name: "registry-gone", run: "image: registry.invalid/app:1"},
	{code: "registry-unreachable", name: "registry-ours", run: "image: localhost:5999/app:1", says: "kdev's registry"},
	{code: "image-never-pull", name: "image-never", run: "image: registry.test:5000/missing:1, imagePullPolicy: Never"},
	{code: "image-name", name: "image-name", run: "image: Registry.test/UPPER:1"},

	{code: "missing-configmap", name: "config-env", run: sleeping + ", envFrom: [{configMapRef: {name: absent}}]", says: "absent"},
	{code: "missing-secret", name: "secret-env", run: sleeping + ", env: [{name: A, valueFrom: {secretKeyRef: {name: absent, key: a}}}]"},
	{code: "missing-key", name: "config-key", run: sleeping + ", env: [{name: A, valueFrom: {configMapKeyRef: {name: present, key: absent}}}]",
		extra: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: present}\ndata: {a: b}\n"},
	{code: "missing-configmap", name: "config-volume", pod: "volumes: [{name: v, configMap: {name: absent}}]", run: sleeping + ", volumeMounts: [{name: v, mountPath: /v}]"},
	{code: "missing-claim", name: "claim-missing", pod: "volumes: [{name: v, persistentVolumeClaim: {claimName: absent}}]", run: sleeping + ", volumeMounts: [{name: v, mountPath: /v}]"},
	{code: "runs-as-root", name: "as-root", pod: "securityContext: {runAsNonRoot: true}", run: sleeping},

	{code: "command-not-found", name: "no-command", run: "command: [servr, --port, '80']", says: "servr"},
	{code: "command-not-executable", name: "not-executable", run: "command: [/etc/passwd]"},
	{code: "exec-format", name: "other-cpu", pod: "volumes: [{name: v, configMap: {name: arm64, defaultMode: 0755}}]", run: "command: [/v/server], volumeMounts: [{name: v, mountPath: /v}]",
		extra: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: arm64}\nbinaryData: {server: " + arm64 + "}\n"},
	{code: "working-dir", name: "working-dir", run: sleeping + ", workingDir: /etc/passwd"},
	{code: "mount-over-file", name: "mount-over-file", pod: "volumes: [{name: v, emptyDir: {}}]", run: sleeping + ", volumeMounts: [{name: v, mountPath: /etc/passwd}]"},
	{code: "hook-failed", name: "hook", run: sleeping + ", lifecycle: {postStart: {exec: {command: ['false']}}}"},

	{code: "crash", name: "crash", run: `command: [sh, -c, "echo starting; echo 'cannot connect to postgres://shop:s3cret@db/shop' >&2; exit 3"]`, says: "exit code 3"},
	{code: "exited", name: "exits", run: "command: ['true']"},
	{code: "command-not-found", name: "shell-127", run: `command: [sh, -c, "nosuchprogram --serve"]`},
	{code: "crash", name: "segfault", run: `command: [sh, -c, "exit 139"]`, says: "segmentation"},
	{code: "out-of-memory", name: "memory", run: `command: [sh, -c, "tail /dev/zero"], resources: {limits: {memory: 24Mi}}`, says: "24Mi"},
	{code: "liveness-probe", name: "liveness", run: sleeping + ", livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1}", says: "killed"},
	{code: "startup-probe", name: "startup", run: sleeping + ", startupProbe: {httpGet: {port: 81}, periodSeconds: 1, failureThreshold: 2}"},
	{code: "readiness-probe", name: "readiness", spec: "progressDeadlineSeconds: 4", run: sleeping + ", readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}", says: "connection refused"},
	{code: "crash", name: "init", pod: `initContainers: [{name: migrate, image: IMAGE, command: [sh, -c, "echo no such table; exit 1"]}]`, run: sleeping, says: "init container migrate"},
	{code: "", name: "init-slow", pod: "initContainers: [{name: migrate, image: IMAGE, command: [sleep, infinity]}]", run: sleeping, waitsFor: "init container migrate"},

	{code: "unschedulable-resources", name: "cpu", run: sleeping + ", resources: {requests: {cpu: '1000'}}", says: "cpu 1k"},
	{code: "unschedulable-selector", name: "selector", pod: "nodeSelector: {disk: ssd}", run: sleeping, says: "disk=ssd"},
	{code: "unschedulable-volume", name: "claim-unbound", pod: "volumes: [{name: v, persistentVolumeClaim: {claimName: slow}}]", run: sleeping + ", volumeMounts: [{name: v, mountPath: /v}]",
		extra: "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: slow}\nspec: {storageClassName: nosuch, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n"},
	{code: "unschedulable-port", name: "host-port", spec: "replicas: 2, strategy: {type: Recreate}", run: sleeping + ", ports: [{containerPort: 80, hostPort: 18080}]"},
	{code: "missing-serviceaccount", name: "account", pod: "serviceAccountName: absent", run: sleeping},
	{code: "evicted", name: "evicted", kind: "Pod", pod: "volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]", run: `command: [sh, -c, "head -c 20m /dev/zero > /v/big; sleep infinity"], volumeMounts: [{name: v, mountPath: /v}]`},
	{code: "paused", name: "paused", spec: "paused: true", run: sleeping},
	{code: "job-failed", name: "backoff", kind: "Job", spec: "backoffLimit: 0", pod: "restartPolicy: Never", run: `command: [sh, -c, "echo no such table; exit 2"]`, says: "no such table"},
	{code: "", name: "job-between-attempts", kind: "Job", pod: "restartPolicy: Never", run: `command: [sh, -c, "echo no such table; exit 2"]`, waitsFor: "attempt 2 of 7"},
	{code: "job-deadline", name: "deadline", kind: "Job", spec: "activeDeadlineSeconds: 2", pod: "restartPolicy: Never", run: sleeping},
}

// manifest writes the cause's workload.
func (c cause) manifest() string {
	join := func(parts ...string) string {
		return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
	}
	image := ""
	if !strings.Contains(c.run, "image: ") {
		image = "image: IMAGE"
	}
	pod := "{" + join("terminationGracePeriodSeconds: 0", c.pod, "containers: [{"+join("name: app", image, c.run)+"}]") + "}"
	var text string
	switch c.kind {
	case "", "Deployment":
		text = fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %[1]s}\nspec: {%[2]s}\n", c.name,
			join(c.spec, "selector: {matchLabels: {app: "+c.name+"}}", "template: {metadata: {labels: {app: "+c.name+"}}, spec: "+pod+"}"))
	case "StatefulSet":
		text = fmt.Sprintf("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: %[1]s}\nspec: {%[2]s}\n", c.name,
			join(c.spec, "serviceName: "+c.name, "selector: {matchLabels: {app: "+c.name+"}}", "template: {metadata: {labels: {app: "+c.name+"}}, spec: "+pod+"}"))
	case "Pod":
		text = fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: %s\n", c.name, pod)
	case "Job":
		text = fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: %s}\nspec: {%s}\n", c.name, join(c.spec, "template: {spec: "+pod+"}"))
	}
	if c.extra != "" {
		text += "---\n" + c.extra
	}
	return strings.ReplaceAll(text, "IMAGE", "debian:bookworm-slim")
}

func (c cause) ref() Ref {
	kind := c.kind
	if kind == "" {
		kind = "Deployment"
	}
	return Ref{kind, c.name}
}

// All causes at once, in one namespace: each must be explained.
func TestExplanations(t *testing.T) {
	serveTestRegistry(t)
	d := deployer(t)
	var all []*Object
	for _, c := range causes {
		all = append(all, objects(t, c.manifest())...)
	}
	apply(t, d, all)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	live, err := kube.Watch(ctx, client, d.options.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	left := slices.Clone(causes)
	started := time.Now()
	for len(left) > 0 {
		left = slices.DeleteFunc(left, func(c cause) bool {
			s := d.status(live, c.ref())
			text := s.Explanation(time.Now())
			done := s.Problem != nil && s.Problem.Code == c.code && strings.Contains(text, c.says) || c.code == "" && c.waitsFor != "" && strings.Contains(s.Waiting, c.waitsFor)
			if done {
				t.Logf("after %s\n%s", time.Since(started).Round(100*time.Millisecond), text)
				capture(t, d, live, c, time.Now())
			}
			return done
		})
		if len(left) == 0 {
			break
		}
		select {
		case <-live.Changed():
		case <-ctx.Done():
			for _, c := range left {
				s := d.status(live, c.ref())
				t.Errorf("%s %s was not explained:\n%s", c.code, c.name, s.Explanation(time.Now()))
			}
			return
		}
	}
}

// Causes that need a namespace or a node of their own.
func TestExplanationsOfCreation(t *testing.T) {
	web := cause{name: "web", run: sleeping}
	for _, tc := range []struct {
		code, says string
		prepare    func(t *testing.T, ns string)
	}{
		{"quota-exceeded", "pods=0", func(t *testing.T, ns string) {
			create(t, ns, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {pods: '0'}}\n")
		}},
		{"pod-security", "allowPrivilegeEscalation", func(t *testing.T, ns string) {
			patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
			if _, err := client.Core.CoreV1().Namespaces().Patch(t.Context(), ns, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}},
		{"webhook-failed", "policy.e2e.kdev.dev", func(t *testing.T, ns string) {
			fail, none := admissionv1.Fail, admissionv1.SideEffectClassNone
			hooks := client.Core.AdmissionregistrationV1().ValidatingWebhookConfigurations()
			_, err := hooks.Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
				ObjectMeta: metav1.ObjectMeta{Name: ns},
				Webhooks: []admissionv1.ValidatingWebhook{{
					Name: "policy.e2e.kdev.dev", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
					ClientConfig:      admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: ns, Name: "absent"}},
					NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}},
					Rules:             []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{"CREATE"}, Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = hooks.Delete(context.Background(), ns, metav1.DeleteOptions{}) })
		}},
		{"unschedulable-taint", "taint", func(t *testing.T, ns string) {
			taint(t, `[{"key":"e2e.kdev.dev/busy","effect":"NoSchedule"}]`)
			t.Cleanup(func() { taint(t, `null`) })
		}},
	} {
		t.Run(tc.code, func(t *testing.T) {
			d := deployer(t)
			ns := d.options.Namespace
			if err := d.makeNamespace(t.Context(), ns); err != nil {
				t.Fatal(err)
			}
			tc.prepare(t, ns)
			apply(t, d, objects(t, web.manifest()))
			c := web
			c.code = tc.code
			watched(t, d, func(live *watching) bool {
				s := d.status(live.Namespace, c.ref())
				if s.Problem == nil {
					return false
				}
				text := s.Explanation(time.Now())
				if s.Problem.Code != tc.code || !strings.Contains(text, tc.says) {
					t.Errorf("explained as\n%s", text)
				}
				t.Log("\n" + text)
				capture(t, d, live.Namespace, c, time.Now())
				return true
			})
		})
	}
}

// An old pod that a finalizer holds keeps a rollout from ending.
func TestExplanationOfAStuckPod(t *testing.T) {
	d := deployer(t)
	c := cause{code: "stuck-terminating", name: "web", kind: "StatefulSet", run: sleeping}
	held := strings.ReplaceAll(c.manifest(), "metadata: {labels:", "metadata: {finalizers: [e2e.kdev.dev/hold], labels:")
	pods := client.Core.CoreV1().Pods(d.options.Namespace)
	t.Cleanup(func() {
		ctx := context.Background()
		if list, err := pods.List(ctx, metav1.ListOptions{}); err == nil {
			for _, p := range list.Items {
				_, _ = pods.Patch(ctx, p.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			}
		}
	})
	apply(t, d, objects(t, held))
	watched(t, d, func(live *watching) bool { return d.status(live.Namespace, c.ref()).Ready })
	apply(t, d, objects(t, c.manifest()))
	watched(t, d, func(live *watching) bool {
		s := d.status(live.Namespace, c.ref())
		if s.Problem == nil {
			return false
		}
		text := s.Explanation(time.Now())
		if s.Problem.Code != c.code || !strings.Contains(text, "e2e.kdev.dev/hold") {
			t.Errorf("explained as\n%s", text)
		}
		t.Log("\n" + text)
		capture(t, d, live.Namespace, c, time.Now())
		return true
	})
}

// A healthy rollout, and one that changes, show no problem at any time.
func TestNoFalseAlarm(t *testing.T) {
	d := deployer(t)
	healthy := cause{name: "web", spec: "replicas: 2", run: sleeping + ", readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}, lifecycle: {postStart: {exec: {command: [sh, -c, 'sleep 2; touch /tmp/ready']}}}"}
	for _, text := range []string{healthy.manifest(), strings.ReplaceAll(healthy.manifest(), "name: app", "env: [{name: A, value: b}], name: app")} {
		apply(t, d, objects(t, text))
		watched(t, d, func(live *watching) bool {
			s := d.status(live.Namespace, healthy.ref())
			if s.Problem != nil {
				t.Errorf("a false alarm:\n%s", s.Explanation(time.Now()))
			}
			return s.Ready
		})
	}
}

func create(t *testing.T, ns, text string) {
	t.Helper()
	o := objects(t, text)[0]
	o.SetNamespace(ns)
	target, err := newDeployer(ns).target(o)
	if err != nil {
		t.Fatal(err)
	}
	o.SetLabels(nil)
	if _, err := target.resource.Create(t.Context(), o.Unstructured, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func taint(t *testing.T, taints string) {
	t.Helper()
	ctx := context.Background()
	nodes, err := client.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if _, err := client.Core.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, []byte(`{"spec":{"taints":`+taints+`}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// serveTestRegistry answers pulls from the nodes as registries do that lack an
// image, want credentials, or have had enough.
func serveTestRegistry(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	answer := func(w http.ResponseWriter, status int, code, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/private/"):
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			answer(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		case strings.Contains(r.URL.Path, "/limited/"):
			answer(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
		case r.URL.Path == "/v2/":
			w.WriteHeader(http.StatusOK)
		default:
			answer(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		}
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const script = `gateway=$(ip -4 route show default | awk '{print $3}') && mkdir -p /etc/containerd/certs.d/registry.test:5000 &&
		printf 'server = "http://%s:%s"\n' "$gateway" "$0" > /etc/containerd/certs.d/registry.test:5000/hosts.toml`
	for _, node := range testCluster.Nodes {
		if out, err := exec.Command(testCluster.Engine, "exec", node, "sh", "-c", script, port).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// capture writes what was seen as a fixture for TestExplanationFixtures, when
// KDEV_CAPTURE=1 asks for it.
func capture(t *testing.T, d *Deployer, live *kube.Namespace, c cause, now time.Time) {
	if os.Getenv("KDEV_CAPTURE") == "" {
		return
	}
	t.Helper()
	now = now.UTC().Truncate(time.Second)
	d.options.Now = func() time.Time { return now }
	defer func() { d.options.Now = nil }()
	d.status(live, c.ref()) // asks for the lines
	d.tails.wg.Wait()
	s := d.status(live, c.ref())
	archive := &txtar.Archive{Comment: []byte(c.ref().String() + "\n")}
	add := func(name, text string) {
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(strings.TrimRight(text, "\n") + "\n")})
	}
	add("now", now.Format(time.RFC3339))
	var docs []string
	for _, o := range relevant(live, s) {
		docs = append(docs, dump(t, o))
	}
	add("objects.yaml", strings.Join(docs, "---\n"))
	for _, p := range s.Pods {
		for _, r := range runs(p) {
			for key, lines := range d.tails.runs {
				if key.pod == p.UID && key.container == r.Name && len(lines) > 0 {
					add("tail/"+p.Name+"/"+r.Name, strings.Join(lines, "\n"))
				}
			}
		}
	}
	add("want", s.Explanation(now))
	code := c.code
	if code == "" {
		code = "no-problem"
	}
	file := filepath.Join("testdata", "explain", code+"."+c.name+".txtar")
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// relevant lists the workload, what it controls, and the events about them.
func relevant(live *kube.Namespace, s WorkloadStatus) []runtime.Object {
	var out []runtime.Object
	var uids []types.UID
	add := func(o runtime.Object) {
		m, err := meta.Accessor(o)
		if err != nil || slices.Contains(uids, m.GetUID()) {
			return
		}
		uids = append(uids, m.GetUID())
		out = append(out, o)
	}
	if o, ok := live.Get(s.Kind, s.Name); ok {
		add(o.(runtime.Object))
	}
	for _, rs := range live.ReplicaSets() {
		if live.OwnerOf("ReplicaSet", rs).Name == s.Name {
			add(rs)
		}
	}
	for _, p := range s.Pods {
		add(p)
		for _, v := range p.Spec.Volumes {
			if v.PersistentVolumeClaim != nil {
				if c, ok := live.Get("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName); ok {
					add(c.(runtime.Object))
				}
			}
		}
	}
	for _, ev := range live.AllEvents() {
		if slices.Contains(uids, ev.InvolvedObject.UID) {
			out = append(out, ev)
		}
	}
	return out
}

func dump(t *testing.T, o runtime.Object) string {
	t.Helper()
	o = o.DeepCopyObject()
	kinds, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		t.Fatal(err)
	}
	o.GetObjectKind().SetGroupVersionKind(kinds[0])
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
		m.SetResourceVersion("")
		m.SetLabels(withoutSet(m.GetLabels()))
	}
	if p, ok := o.(*corev1.Pod); ok {
		p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, "kube-api-access") })
		p.Spec.Tolerations = nil
	}
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func withoutSet(labels map[string]string) map[string]string {
	delete(labels, partOfLabel)
	return labels
}
