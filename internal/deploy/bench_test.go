package deploy

import (
	"fmt"
	"strings"
	"testing"
)

// Rendering and injecting a hundred objects by kustomize, base and overlay, in a
// process that has done so before:
//
//	go test -run '^$' -bench Render ./internal/deploy
func BenchmarkRender(b *testing.B) {
	files := map[string]string{"overlay/kustomization.yaml": "namespace: shop\nresources: [../base]\n"}
	var names []string
	for i := range 25 {
		name := fmt.Sprintf("svc-%02d.yaml", i)
		names = append(names, name)
		files["base/"+name] = strings.ReplaceAll(`apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: a, image: "shop/NAME:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: NAME}
stringData: {a: b}
`, "NAME", fmt.Sprintf("svc-%02d", i))
	}
	files["base/kustomization.yaml"] = "resources: [" + strings.Join(names, ", ") + "]\n"
	root := project(b, files)
	var images []Image
	for i := range 25 {
		images = append(images, Image{Service: fmt.Sprintf("svc-%02d", i), Ref: "localhost:5001/shop/x:1@sha256:1"})
	}
	b.ResetTimer()
	for b.Loop() {
		m, err := Render(b.Context(), root, []Source{{Kustomize: "overlay"}})
		if err != nil {
			b.Fatal(err)
		}
		Inject(m.Objects, images)
	}
}
