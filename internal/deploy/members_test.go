package deploy

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Controllers copy labels to what they make, the set's among them. That is no member:
// neither a prune, nor the diff before it, nor a down removes it.
func TestCopiedLabels(t *testing.T) {
	live := liveOf(t, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-abcde}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: adopted}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cleared}
`)
	truth := true
	for _, u := range live[:2] {
		u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "web", UID: "1", Controller: &truth}})
	}
	live[0].SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate}})
	live[1].SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: fieldManager, Operation: metav1.ManagedFieldsOperationApply}})
	for _, u := range live {
		u.SetLabels(map[string]string{partOfLabel: applySetID("kdev-shop", "shop")})
	}
	d, s := stubbed(t, "", live...)
	first := parse(t, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: gone}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: stays}
`)
	if _, err := d.Apply(t.Context(), Copy(first)); err != nil {
		t.Fatal(err)
	}
	rest := first[2:]
	diffs, err := d.Diff(t.Context(), rest)
	if err != nil {
		t.Fatal(err)
	}
	var going []string
	for _, diff := range diffs {
		going = append(going, string(diff.Change)+" "+diff.Kind+"/"+diff.Name)
	}
	if got, want := strings.Join(going, ", "), "remove ConfigMap/cleared, remove ConfigMap/gone, remove EndpointSlice/by-hand"; got != want {
		t.Errorf("diff: %s, want %s", got, want)
	}
	pruned, err := d.PruneReport(t.Context(), rest)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(pruned.Removed, ", "), "ConfigMap/cleared, ConfigMap/gone, EndpointSlice/by-hand"; got != want {
		t.Errorf("pruned %s, want %s", got, want)
	}
	if len(pruned.Kept) != 1 || pruned.Kept[0] != (Kept{"EndpointSlice/adopted", "it belongs to Service/web"}) {
		t.Errorf("kept %+v", pruned.Kept)
	}
	// What kdev wrote goes with a down, whoever took it over since.
	if _, err := d.Down(t.Context(), DownOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := s.there(t, "endpointslices"); got != "web-abcde" {
		t.Errorf("after down: %s", got)
	}
}
