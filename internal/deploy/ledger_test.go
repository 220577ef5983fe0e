package deploy

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A hook that runs again for what it reads now is not cleared once more while it runs; with
// something else to read it is.
func TestLedgerOfAHookThatBegan(t *testing.T) {
	hook := func(inputs string) target { return aHook(inputs, Hook{}) }
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

// A kdev before this one noted the hash of a hook without what it reads: unchanged, it does
// not run again for that, and from then on it does when its data changes.
func TestLedgerOfAnEarlierKdev(t *testing.T) {
	hook := func(inputs string) target { return aHook(inputs, Hook{WhenSucceeded: true}) }
	var before ledger
	before.noteHook(hook("")) // as it was noted then
	var l ledger
	l.read(before.data())
	if l.stale(hook("one")) || !l.ran(hook("one")) {
		t.Error("it runs again for the upgrade alone")
	}
	if !l.changed() {
		t.Error("what it reads is not noted")
	}
	var next ledger
	next.read(l.data())
	if next.changed() || next.stale(hook("one")) || !next.ran(hook("one")) {
		t.Error("it runs again after the upgrade")
	}
	if !next.stale(hook("two")) || next.ran(hook("two")) {
		t.Error("what it reads has changed, and it does not run")
	}
}

func aHook(inputs string, h Hook) target {
	o := &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"kind": "Job"}}, Hook: &h, inputs: inputs}
	return target{Object: o, key: objectKey{GroupKind: jobKind, namespace: "shop", name: "migrate"}}
}
