package deploy

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

const readers = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers:
      - name: seed
        image: a
        envFrom:
        - secretRef: {name: nowhere}
      containers:
      - name: web
        image: a
        env:
        - name: A
          valueFrom: {secretKeyRef: {name: rendered, key: none}}
        - name: B
          valueFrom: {secretKeyRef: {name: rendered, key: here}}
        - name: C
          valueFrom: {secretKeyRef: {name: live, key: there}}
        - name: D
          valueFrom: {secretKeyRef: {name: maybe, key: any, optional: true}}
        envFrom:
        - secretRef: {name: sealed}
        - secretRef: {name: external}
        - secretRef: {name: from-file}
        - configMapRef: {name: settings}
        - configMapRef: {name: sealed}
      serviceAccountName: robot
      volumes:
      - name: v
        secret: {secretName: live, items: [{key: gone, path: x}]}
      - name: d
        persistentVolumeClaim: {claimName: data}
      - name: c
        configMap: {name: cluster, items: [{key: there, path: x}, {key: gone, path: z}]}
---
apiVersion: v1
kind: Secret
metadata: {name: rendered}
stringData: {here: x}
---
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {name: sealed}
`

// What is missing is told by object, field and line before anything is applied; what
// somebody else may make is not.
func TestMissing(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "k8s.yaml"), []byte(readers), 0o644); err != nil {
		t.Fatal(err)
	}
	sources := []config.Source{{YAML: []string{"k8s.yaml"}}, {Apps: &config.Apps{Project: "shop", Secrets: []config.Secret{
		{Name: "external", External: true},
		{Name: "from-file", EnvFile: ".env.x", Where: "kdev.yaml:9"},
	}}}}
	m, err := Render(t.Context(), root, Sources(sources, "shop", nil))
	if err != nil {
		t.Fatal(err)
	}
	live := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "live", Namespace: "shop"}, Data: map[string][]byte{"there": nil, "x": []byte("y")}}
	live.Data["there"] = []byte("z")
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster", Namespace: "shop"}, Data: map[string]string{"there": ""}}
	d := New(&kube.Client{Core: fake.NewClientset(live, settings)}, Options{Project: "shop", Namespace: "shop", Root: root})
	defer d.Close()
	doubts, err := d.Missing(t.Context(), m.Objects, sources)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatal("nothing is missing")
	}
	var got []string
	for _, err := range joined.Unwrap() {
		p := problem.As(err)
		got = append(got, strings.Join([]string{p.Code, p.Where, p.Summary}, " | "))
	}
	for _, p := range doubts {
		got = append(got, "doubt: "+strings.Join([]string{p.Code, p.Where, p.Summary}, " | "))
	}
	const at = "Deployment/web (k8s.yaml:"
	want := []string{
		"secret-source | kdev.yaml:9 | there is no .env.x, from which Secret from-file is made",
		"missing-secret | " + at + "11) spec.template.spec.initContainers[0].envFrom[0].secretRef | there is no Secret nowhere in namespace shop, nor does anything make it",
		"missing-key | " + at + "17) spec.template.spec.containers[0].env[0].valueFrom.secretKeyRef | Secret rendered has no key none",
		"missing-key | " + at + "21) spec.template.spec.volumes[0].secret | Secret live has no key gone",
		"doubt: missing-configmap | " + at + "28) spec.template.spec.containers[0].envFrom[3].configMapRef | there is no ConfigMap settings in namespace shop, nor does anything make it",
		"doubt: missing-claim | " + at + "35) spec.template.spec.volumes[1].persistentVolumeClaim | there is no PersistentVolumeClaim data in namespace shop, nor does anything make it",
		"doubt: missing-key | " + at + "37) spec.template.spec.volumes[2].configMap | ConfigMap cluster has no key gone",
		"doubt: missing-serviceaccount | " + at + "30) spec.template.spec.serviceAccountName | there is no ServiceAccount robot in namespace shop, nor does anything make it",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Values come from where kdev.yaml says; what is made up stays; a render shows nothing.
func TestFill(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{".env.x": "A=1\nB=two\nC=3\n", "key.pem": "PEM"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := config.Secret{Name: "all", EnvFile: ".env.x", Files: map[string]string{"key.pem": "key.pem"}, Generate: []string{"made"}, Where: "kdev.yaml:3"}
	vault := config.Secret{Name: "vault", Command: []string{"sh", "-c", "echo TOKEN=from-the-vault; echo OTHER=x"}, Keys: []string{"TOKEN"}}
	m, err := Render(t.Context(), root, []Source{{Apps: &config.Apps{Project: "shop", Secrets: []config.Secret{secret, vault}}}})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Reads(filepath.Join(root, ".env.x")) || !m.Reads(filepath.Join(root, "key.pem")) {
		t.Error("a change of the files is not noticed")
	}
	if shown := stringsOf(m.Objects[0]); slices.ContainsFunc(shown, func(s string) bool { return s == "two" || s == "PEM" }) {
		t.Errorf("a render shows %q", shown)
	}
	if got := Hidden(m.Objects); !slices.Contains(got, "two") || !slices.Contains(got, "PEM") || slices.Contains(got, "from-the-vault") {
		t.Errorf("hidden: %q", got)
	}
	values := func(o *Object, live *Object) map[string]string {
		t.Helper()
		readable(o)
		if _, err := o.fill(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if live != nil {
			if _, err := o.fill(t.Context(), live.Unstructured); err != nil {
				t.Fatal(err)
			}
		}
		data, _ := o.Object["data"].(map[string]any)
		out := map[string]string{}
		for key, v := range data {
			out[key] = decoded(t, v)
		}
		return out
	}
	first := Copy(m.Objects)
	got := values(first[0], nil)
	if len(got) != 5 || got["A"] != "1" || got["B"] != "two" || got["key.pem"] != "PEM" || len(got["made"]) != 32 {
		t.Errorf("values: %q", got)
	}
	second := Copy(m.Objects)
	if again := values(second[0], first[0]); again["made"] != got["made"] {
		t.Error("what was made up is made up again")
	}
	if got := values(first[1], nil); len(got) != 1 || got["TOKEN"] != "from-the-vault" {
		t.Errorf("vault: %q", got)
	}
}

// What a command prints differently each time stays what it is in the cluster; what was
// changed in its vault does not.
func TestFillFromAMovingCommand(t *testing.T) {
	root := t.TempDir()
	vault := filepath.Join(root, "vault")
	set := func(text string) {
		t.Helper()
		if err := os.WriteFile(vault, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("old")
	secret := config.Secret{Name: "vault", Command: []string{"sh", "-c", "echo x >> runs; echo TOKEN=$(($(wc -l < runs))); echo PASSWORD=$(cat vault)"}}
	fill := func(live *Object) (data map[string]any, kept []string) {
		t.Helper()
		m, err := Render(t.Context(), root, []Source{{Apps: &config.Apps{Project: "shop", Secrets: []config.Secret{secret}}}})
		if err != nil {
			t.Fatal(err)
		}
		var u *unstructured.Unstructured
		if live != nil {
			u = live.Unstructured
		}
		if kept, err = m.Objects[0].fill(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		data, _ = m.Objects[0].Object["data"].(map[string]any)
		return data, kept
	}
	data, kept := fill(nil)
	if decoded(t, data["TOKEN"]) != "1" || decoded(t, data["PASSWORD"]) != "old" || len(kept) > 0 {
		t.Fatalf("first: %v, %q", data, kept)
	}
	live := &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"data": data}}}
	set("new")
	data, kept = fill(live)
	if decoded(t, data["TOKEN"]) != "1" || decoded(t, data["PASSWORD"]) != "new" || !slices.Equal(kept, []string{"TOKEN"}) {
		t.Errorf("again: %v, %q", data, kept)
	}
}

// What a Job, an operator or the cluster may make is not missing.
func TestMissingMadeByOthers(t *testing.T) {
	const manifests = `apiVersion: batch/v1
kind: Job
metadata: {name: certgen}
spec: {template: {spec: {containers: [{name: a, image: a, args: [create, --secret-name=web-cert], env: [{name: A, valueFrom: {secretKeyRef: {name: read, key: a}}}]}]}}}
---
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: db}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: queue}
spec: {template: {spec: {containers: [{name: a, image: a}]}}, volumeClaimTemplates: [{metadata: {name: data}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: a, image: a, envFrom: [{secretRef: {name: web-cert}}, {secretRef: {name: db-app}}, {secretRef: {name: read}}, {configMapRef: {name: kube-root-ca.crt}}]}]
  volumes: [{name: a, persistentVolumeClaim: {claimName: data-queue-0}}, {name: b, persistentVolumeClaim: {claimName: data-queue-x}}]
`
	rendered, root := parseIn(t, manifests)
	d := New(&kube.Client{Core: fake.NewClientset()}, Options{Project: "shop", Namespace: "shop", Root: root})
	defer d.Close()
	doubts, err := d.Missing(t.Context(), rendered, nil)
	if err == nil || strings.Count(err.Error(), "there is no Secret") != 2 || !strings.Contains(err.Error(), "there is no Secret read") {
		t.Errorf("missing: %v", err)
	}
	if len(doubts) != 1 || !strings.Contains(doubts[0].Summary, "data-queue-x") {
		t.Errorf("doubts: %v", doubts)
	}
}

// A store that a manifest runs already is that one.
func TestStoreOfManifests(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "redis.yaml"), []byte("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: redis}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	apps := Source{Apps: &config.Apps{Project: "shop", Stores: []config.Store{{Kind: "redis", Name: "redis", Image: "redis:7", Storage: "1Gi"}}}}
	for _, c := range []struct {
		sources []Source
		objects int
	}{{[]Source{apps}, 3}, {[]Source{{YAML: []string{"redis.yaml"}}, apps}, 1}} {
		m, err := Render(t.Context(), root, c.sources)
		if err != nil || len(m.Objects) != c.objects {
			t.Errorf("%d objects, %v", len(m.Objects), err)
		}
	}
}

func decoded(t *testing.T, v any) string {
	t.Helper()
	s, _ := v.(string)
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Values of kdev.yaml's secrets are dev's, so that another environment is told where its own go.
func TestAMissingSecretOfAnEnvironment(t *testing.T) {
	d, _ := stubbed(t, t.TempDir())
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web, envFrom: [{secretRef: {name: mail}}]}]}\n"
	for environment, want := range map[string]string{
		"":        "secrets: {mail: {fromEnvFile: .env.mail}} in kdev.yaml makes it, ",
		"staging": "secrets: {mail: {fromEnvFile: .env.mail, environments: {staging: {fromEnvFile: .env.mail.staging}}}} in kdev.yaml makes it there, ",
	} {
		d.options.Environment = environment
		doubts, err := d.Missing(t.Context(), parse(t, pod), nil)
		all := doubts
		if p := problem.As(err); p != nil {
			all = append(all, p)
		}
		if len(all) != 1 || !strings.HasPrefix(all[0].Hint, want) {
			t.Errorf("%q: %v, %v", environment, all, err)
		}
	}
}
