package deploy

import (
	"fmt"
	"testing"
)

func TestLiveness(t *testing.T) {
	const manifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
        - {name: web, image: %s, %s}
`
	for _, test := range []struct {
		name, image, probes string
		restarts            bool
		want                any
	}{
		{"slow start by a startup probe", "web", `{startupProbe: {periodSeconds: 5, failureThreshold: 12}, livenessProbe: {periodSeconds: 7, failureThreshold: 2}}`, true, int64(2 + 9)},
		{"the API's own numbers", "web", `{startupProbe: {}, livenessProbe: {}}`, true, int64(3 + 3)},
		{"slow start by a delay", "web", `{livenessProbe: {initialDelaySeconds: 45}}`, true, int64(3 + 5)},
		{"fast start", "web", `{livenessProbe: {failureThreshold: 1}}`, true, int64(1)},
		{"no restarts", "web", `{livenessProbe: {initialDelaySeconds: 45, failureThreshold: 1}}`, false, int64(1)},
		{"image of others", "redis", `{livenessProbe: {initialDelaySeconds: 45, failureThreshold: 1}}`, true, int64(1)},
		{"readiness alone", "web", `{readinessProbe: {initialDelaySeconds: 45}}`, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects := parse(t, fmt.Sprintf(manifest, test.image, test.probes[1:len(test.probes)-1]))
			image := Image{Service: "web", Ref: "localhost:5001/shop/web:1@sha256:2", Prefix: []string{"/.kdev/agent", "run", "--"}, Restarts: test.restarts}
			in := Inject(objects, []Image{image})
			var got any
			eachContainer(objects[0], func(c map[string]any, _ string) {
				if live, ok := c["livenessProbe"].(map[string]any); ok {
					got = live["failureThreshold"]
				}
			})
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("failureThreshold %v, want %v", got, test.want)
			}
			if declared := len(in.Declared) > 0; declared != (test.restarts && test.image == "web" && test.want != nil && test.want != int64(1)) {
				t.Errorf("declared: %v", in.Declared)
			}
		})
	}
}
