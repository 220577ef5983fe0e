package deploy

import (
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
