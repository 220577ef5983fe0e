package deploy

import (
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestAddPullSecret(t *testing.T) {
	const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: a, image: redis:7}, {name: b, image: ghcr.io/acme/private:1}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: batch}
spec: {jobTemplate: {spec: {template: {spec: {imagePullSecrets: [{name: own}], initContainers: [{name: a, image: ghcr.io/acme/private:1}]}}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: free}
spec: {containers: [{name: a, image: redis:7}]}
`
	var objects []*Object
	for _, text := range strings.Split(manifests, "---") {
		o := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, &Object{Unstructured: &unstructured.Unstructured{Object: o}})
	}
	if got := AddPullSecret(Copy(objects), "shop", PullSecret{Config: []byte("{}"), Refs: map[string]bool{"other:1": true}}); len(got) != len(objects) {
		t.Errorf("a Secret for nothing: %v", got[len(got)-1].Object)
	}
	p := PullSecret{Config: []byte(`{"auths":{}}`), Refs: map[string]bool{"ghcr.io/acme/private:1": true}}
	got := AddPullSecret(Copy(objects), "shop", p)
	text := func(o *Object) string {
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if len(got) != 5 {
		t.Fatalf("%d objects", len(got))
	}
	for i, want := range []string{"imagePullSecrets:\n      - name: kdev-pull\n", "- name: own\n          - name: kdev-pull\n", "", "namespace: batch", "namespace: shop"} {
		if !strings.Contains(text(got[i]), want) || i == 2 && strings.Contains(text(got[i]), "imagePullSecrets") {
			t.Errorf("object %d is\n%s\nwant in it %q", i, text(got[i]), want)
		}
	}
	if again := AddPullSecret(got[:3], "shop", p); strings.Count(text(again[0]), PullSecretName) != 1 {
		t.Errorf("a second time:\n%s", text(again[0]))
	}
	d := (&Deployer{}).Declared(objects, got)
	found := 0
	for _, o := range d {
		for _, f := range o.Fields {
			if strings.Contains(f.Path, "imagePullSecrets") {
				found++
			}
		}
	}
	if found != 2 {
		t.Errorf("%d declared differences: %+v", found, d)
	}
}

// A pod that is given a pull secret gets none from its ServiceAccount any more.
func TestAddPullSecretKeepsThatOfTheAccount(t *testing.T) {
	objects := parse(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
imagePullSecrets: [{name: company}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: shop}
imagePullSecrets: [{name: partner}]
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {containers: [{name: a, image: private:1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {serviceAccountName: other, containers: [{name: a, image: private:1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: c, namespace: batch}
spec: {containers: [{name: a, image: private:1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: d}
spec: {imagePullSecrets: [{name: own}], containers: [{name: a, image: private:1}]}
`)
	got := map[string]string{}
	for _, o := range AddPullSecret(objects, "shop", PullSecret{Config: []byte("{}"), Refs: map[string]bool{"private:1": true}}) {
		secrets, _, _ := unstructured.NestedSlice(o.Object, "spec", "imagePullSecrets")
		for _, s := range secrets {
			got[o.GetName()] += s.(map[string]any)["name"].(string) + " "
		}
	}
	want := map[string]string{"a": "company kdev-pull ", "b": "partner kdev-pull ", "c": "kdev-pull ", "d": "own kdev-pull "}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
