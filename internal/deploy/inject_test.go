package deploy

import (
	"fmt"
	"strings"
	"testing"
)

func TestInject(t *testing.T) {
	const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: a, image: "ghcr.io/shop/web:1"}, {name: b, image: "redis:7"}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tidy}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: "localhost:5000/shop/web@sha256:1", command: [tidy]}]}}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec: {containers: [{name: a, image: webhook}, {name: b, image: web}], volumes: [{name: v, image: {reference: web}}, {name: w, emptyDir: {}}]}
---
apiVersion: flows.example.com/v1
kind: Flow
metadata: {name: ghcr.io/shop/web}
spec: {image: "ghcr.io/shop/web:2", word: web, path: charts/web, source: "https://github.com/shop/web", steps: [{uses: "docker://ghcr.io/shop/web:2"}, {run: {image: "ghcr.io/shop/web"}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {IMAGE: "ghcr.io/shop/web:1"}
`
	const ref = "localhost:5001/shop/web:abc@sha256:2"
	for _, tc := range []struct {
		name       string
		image      Image
		uses       string
		lookalikes int
	}{
		{"by service", Image{Service: "web", Ref: ref, Prefix: []string{"/agent", "--"}},
			"Deployment/web a spec.template.spec.containers[0].image\nCronJob/tidy a spec.jobTemplate.spec.template.spec.containers[0].image\nPod/bare  spec.volumes[0].image.reference\nPod/bare b spec.containers[1].image\n" +
				"Flow/ghcr.io/shop/web  spec.image\nFlow/ghcr.io/shop/web  spec.steps[1].run.image", 0},
		{"by repository", Image{Service: "web", Repository: "ghcr.io/shop/web", Ref: ref},
			"Deployment/web a spec.template.spec.containers[0].image\nFlow/ghcr.io/shop/web  spec.image\nFlow/ghcr.io/shop/web  spec.steps[1].run.image", 2},
		{"unused", Image{Service: "api", Ref: ref}, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 5 {
				objects := parse(t, manifests)
				in := Inject(objects, []Image{tc.image})
				var uses []string
				for _, u := range in.Uses[tc.image.Service] {
					uses = append(uses, fmt.Sprintf("%s %s %s", u.Object, u.Container, u.Field))
				}
				if strings.Join(uses, "\n") != tc.uses {
					t.Fatalf("uses\n%s\nwant\n%s", strings.Join(uses, "\n"), tc.uses)
				}
				if (len(in.Unused) == 1) != (tc.uses == "") || len(in.Lookalikes) != tc.lookalikes {
					t.Errorf("unused %v, lookalikes %v", in.Unused, in.Lookalikes)
				}
				var changed []string
				for _, d := range Compare(parse(t, manifests), objects) {
					for _, f := range d.Fields {
						if strings.HasSuffix(f.Path, "image") && f.To != ref {
							t.Errorf("%s = %v", f.Path, f.To)
						}
						changed = append(changed, f.Path)
					}
				}
				want := len(uses)
				if len(tc.image.Prefix) > 0 {
					want++ // the CronJob's command
				}
				if len(changed) != want {
					t.Errorf("changed %v", changed)
				}
			}
		})
	}
	t.Run("without a reference nothing changes", func(t *testing.T) {
		objects := parse(t, manifests)
		if in := Inject(objects, []Image{{Service: "web"}}); len(in.Uses["web"]) == 0 || len(Compare(parse(t, manifests), objects)) > 0 {
			t.Error("changed")
		}
	})
}

// TestForgotten: a list of services that leaves one out is told before its pods lack an image.
func TestForgotten(t *testing.T) {
	objects := parse(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: rng}
spec: {template: {spec: {containers: [{name: rng, image: "shop/rng:1"}, {name: side, image: shop/side}]}}}
`)
	folders := map[string]string{"rng": "rng", "other": "other"}
	got := Forgotten(objects, folders, nil)
	if len(got) != 1 || !strings.Contains(got[0], "Deployment/rng runs shop/rng:1") {
		t.Errorf("%q", got)
	}
	if got := Forgotten(objects, folders, []Image{{Service: "rng", Repository: "shop/rng"}}); got != nil {
		t.Errorf("%q, and a service makes it", got)
	}
}
