package deploy

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A hook that runs again for what it reads now is not cleared once more while it runs; with
// something else to read it is.
func TestLedgerOfAHookThatBegan(t *testing.T) {
	hook := func(inputs string) target {
		o := &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"kind": "Job"}}, Hook: &Hook{}, inputs: inputs}
		return target{Object: o, key: objectKey{GroupKind: jobKind, namespace: "shop", name: "migrate"}}
	}
	l := &ledger{}
	l.noteHook(hook("old"))
	if !l.stale(hook("new")) {
		t.Fatal("what it reads has changed")
	}
	l.noteBegin(hook("new"))
	if l.stale(hook("new")) {
		t.Error("it runs for that already")
	}
	if !l.stale(hook("newer")) {
		t.Error("it does not run for that")
	}
}
