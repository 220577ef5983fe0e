package deploy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func anObject(t *testing.T, text string) *Object {
	t.Helper()
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	return &Object{Unstructured: &unstructured.Unstructured{Object: fields}}
}

// newsOf is what a workload is owed new pods for.
func newsOf(c *changedData, workload *Object) string {
	started, _ := readsOf(workload, c.news(RefOf(workload)))
	return strings.Join(started, " ")
}

// A change that was written, and whose pods were not replaced, is owed by the next process,
// which finds nothing to change.
func TestChangedDataIsOwed(t *testing.T) {
	web := anObject(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: a, envFrom: [{configMapRef: {name: conf}}]}]}}}}")
	other := anObject(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: other}, spec: {template: {spec: {containers: [{name: a, env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: b}}}]}]}}}}")
	was := anObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {a: "1", b: "1"}}`)
	now := anObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {a: "2", b: "1"}}`)

	var c changedData
	c.read(map[string]string{})
	c.begin()
	if !c.expect(now, was.Unstructured) || !c.changed() {
		t.Fatal("a change that is about to be written is not announced")
	}
	parent := c.into(nil) // and the process ends, before or after the write
	if c.changed() {
		t.Error("what the parent says is to be written again")
	}

	var next changedData
	next.read(parent)
	if next.changed() {
		t.Error("what was read is to be written")
	}
	next.see(now, now.Unstructured, outcome{now: now.Unstructured})
	if got := newsOf(&next, web); got != "ConfigMap/conf" {
		t.Errorf("web is owed new pods for %q", got)
	}
	if got := newsOf(&next, other); got != "" {
		t.Errorf("other is owed new pods for %q, and reads another key", got)
	}
	next.forget([]*Object{web, other})
	if next.text() == "" {
		t.Error("forgotten before the pods were replaced")
	}
	next.settled(RefOf(web))
	parent = next.into(nil)

	var third changedData
	third.read(parent)
	if got := newsOf(&third, web); got != "" {
		t.Errorf("replaced twice, for %q", got)
	}
	third.forget([]*Object{web, other})
	if third.into(nil) != nil {
		t.Error("what nobody is owed stays in the parent")
	}
}

// What was expected and did not come is owed to nobody; what may have come is.
func TestChangedDataExpected(t *testing.T) {
	web := anObject(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: a, envFrom: [{configMapRef: {name: conf}}]}]}}}}")
	was := anObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {a: "1", others: "1"}}`)
	want := anObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {a: "2"}}`)

	var c changedData
	c.begin()
	c.expect(want, was.Unstructured)
	c.refused(want)
	if got := newsOf(&c, web); got != "" || c.text() != "" {
		t.Errorf("refused, and web is owed new pods for %q", got)
	}

	c.begin()
	c.expect(want, was.Unstructured)
	announced := c.into(nil)["changed"]
	kept := anObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {a: "2", others: "1"}}`)
	c.see(want, was.Unstructured, outcome{now: kept.Unstructured, changed: true})
	if c.text() == announced || strings.Contains(c.text(), "others") {
		t.Errorf("a key of somebody else's that stayed counts as changed: %s", c.text())
	}

	// The answer to the write was lost: the next attempt finds it done.
	var lost changedData
	lost.begin()
	lost.expect(want, was.Unstructured)
	lost.begin()
	lost.see(want, kept.Unstructured, outcome{now: kept.Unstructured})
	if got := newsOf(&lost, web); got != "ConfigMap/conf" {
		t.Errorf("web is owed new pods for %q", got)
	}
}
