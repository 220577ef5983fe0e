package deploy

import (
	"fmt"
	"strings"
	"testing"
)

// Of what each render makes differently the live value stays, and nothing else does: a value
// within a list holds back neither the list nor the image in it.
func TestKeepLiveInLists(t *testing.T) {
	const text = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {checksum/config: RANDOM}}
spec:
  template:
    spec:
      containers:
      - {name: side, image: "side:RANDOM"}
      - {name: web, image: "web:TAG", args: [run, "--token=RANDOM", "--level=LEVEL"], env: [{name: SALT, value: RANDOM}, {name: LEVEL, value: LEVEL}]}
      volumes: MANY
---
apiVersion: v1
kind: Secret
metadata: {name: made}
stringData: {password: RANDOM, user: LEVEL}
`
	render := func(random, tag, level, many string) []*Object {
		return parse(t, strings.NewReplacer("RANDOM", random, "TAG", tag, "LEVEL", level, "MANY", many).Replace(text))
	}
	first := render("new", "2", "high", "[{name: a}, {emptyDir: {}}]")
	markUnstable(first, render("newer", "2", "high", "[{emptyDir: {}}]"))
	live := render("old", "1", "low", "[{name: b}]")
	for i, o := range first {
		readable(live[i])
		readable(o)
	}
	if renderHash(first[0]) != renderHash(marked(render("other", "2", "high", "[{emptyDir: {}}]"), first)[0]) {
		t.Error("what a render makes up counts for its hash")
	}
	if renderHash(first[0]) == renderHash(marked(render("new", "2", "low", "[{emptyDir: {}}]"), first)[0]) {
		t.Error("what stands in a list beside a value that is made up does not count for the hash")
	}
	kept, anew := keepLive(first[0], live[0].Unstructured)
	const place = "spec.template.spec.containers[web]"
	if got, want := fmt.Sprint(kept, anew), "[metadata.annotations.checksum/config "+place+".args[1] "+place+".env[SALT].value] [spec.template.spec.volumes]"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	diffs := fieldDiffs(render("old", "2", "high", "[{name: a}, {emptyDir: {}}]")[0].Object, first[0].Object, false)
	if len(diffs) != 1 || diffs[0].Path != "spec.template.spec.containers[side].image" || diffs[0].To != "side:new" {
		t.Errorf("%+v", diffs)
	}
	if kept, _ := keepLive(first[1], live[1].Unstructured); fmt.Sprint(kept) != "[data.password]" {
		t.Errorf("kept %v of the Secret", kept)
	}
	if diffs := fieldDiffs(live[1].Object, first[1].Object, false); len(diffs) != 1 || diffs[0].Path != "data.user" {
		t.Errorf("%+v", diffs)
	}
	// A list that goes by place and has another length is another list.
	short := render("old", "1", "low", "[]")
	setNested(t, short[0], []any{map[string]any{"name": "web", "args": []any{"--token=old"}}})
	if kept, anew := keepLive(marked(render("new", "2", "high", "[]"), first)[0], short[0].Unstructured); strings.Contains(fmt.Sprint(kept), "args") || fmt.Sprint(anew) != "["+place+".args[1] "+place+".env[SALT].value spec.template.spec.volumes]" {
		t.Errorf("kept %v, anew %v", kept, anew)
	}
}

// marked gives objects the marks that others have.
func marked(objects, as []*Object) []*Object {
	for i, o := range objects {
		readable(o)
		o.unstable = as[i].unstable
	}
	return objects
}

func setNested(t *testing.T, o *Object, containers []any) {
	t.Helper()
	o.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"] = containers
}
