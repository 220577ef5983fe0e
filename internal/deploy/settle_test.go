package deploy

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a chart makes up at each render is what is in the cluster, but for Secrets; without
// that the same files give the same bytes all the same.
func TestSettle(t *testing.T) {
	const text = `
apiVersion: v1
kind: ConfigMap
metadata: {name: salt}
data: {salt: RANDOM, level: high}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: web, image: "web:1", env: [{name: SALT, value: RANDOM}], ports: [{name: http, containerPort: NUMBER}]}]}}}
---
apiVersion: v1
kind: Secret
metadata: {name: made}
stringData: {password: RANDOM}
data: {key: RANDOM}
`
	render := func(random, number string) []*Object {
		with := func(random, number string) []*Object {
			return parse(t, strings.NewReplacer("RANDOM", random, "NUMBER", number).Replace(text))
		}
		objects := with(random, number)
		markUnstable(objects, with("again"+random, number+"1"))
		return objects
	}
	bytes := func(objects []*Object) string {
		var b strings.Builder
		for _, o := range objects {
			data, err := json.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(data)
		}
		return b.String()
	}
	one, two := render("one", "81"), render("two", "82")
	const env, port = "Deployment/web spec.template.spec.containers[web].env[SALT].value", "Deployment/web spec.template.spec.containers[web].ports[http].containerPort"
	for _, side := range [][]*Object{one, two} {
		standing, err := Settle(t.Context(), nil, "shop", side)
		if got, want := strings.Join(standing, ", "), "ConfigMap/salt data.salt, "+env+", "+port+", Secret/made data.key, Secret/made stringData.password"; err != nil || got != want {
			t.Errorf("standing %s, want %s, %v", got, want, err)
		}
	}
	if a, b := bytes(one), bytes(two); a != b || strings.Contains(a, "one") {
		t.Errorf("the same files, other bytes:\n%s\n%s", a, b)
	}
	if diffs := Compare(one, two); len(diffs) > 0 {
		t.Errorf("they differ: %+v", diffs)
	}
	live := parse(t, strings.NewReplacer("RANDOM", "live", "NUMBER", "80").Replace(text))
	d, s := stubbed(t, "")
	if _, err := d.Apply(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	s.ClearActions()
	three := render("three", "83")
	standing, err := Settle(t.Context(), d.client, "shop", three)
	if err != nil || strings.Join(standing, ", ") != "Secret/made data.key, Secret/made stringData.password" {
		t.Errorf("standing %v, %v", standing, err)
	}
	if got := bytes(three[:2]); !strings.Contains(got, `"salt":"live"`) || !strings.Contains(got, `"value":"live"`) || !strings.Contains(got, `"containerPort":80`) {
		t.Errorf("not as in the cluster: %s", got)
	}
	for _, a := range s.Actions() {
		if a.GetResource().Resource == "secrets" {
			t.Error("a render reads a Secret")
		}
	}
}
