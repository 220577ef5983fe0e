package deploy

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestVolumes(t *testing.T) {
	const manifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers: [{name: migrate, image: web}]
      containers:
        - {name: web, image: web, volumeMounts: [{name: own, mountPath: /data/}], securityContext: {runAsUser: 7, readOnlyRootFilesystem: true}, resources: {limits: {memory: 32Mi}}}
        - {name: redis, image: "redis:7"}
      volumes: [{name: own, emptyDir: {}}]
`
	image := Image{Service: "web", Ref: "localhost:5001/shop/web:1@sha256:2", Prefix: []string{"/.kdev/agent", "run", "--"}, Volumes: []string{"/app", "/data"}}
	objects := parse(t, manifest)
	in := Inject(objects, []Image{image})
	if len(in.Declared) != 1 || in.Declared[0].Field != "spec.template.spec.containers[0].volumeMounts" || !strings.Contains(in.Declared[0].Why, "/app") {
		t.Errorf("declared %v", in.Declared)
	}
	got, err := yaml.Marshal(objects[0].Object["spec"].(map[string]any)["template"].(map[string]any)["spec"])
	if err != nil {
		t.Fatal(err)
	}
	volume, seed := volumeName("kdev-sync", "web", "/app"), volumeName("kdev-seed", "web")
	want := fmt.Sprintf(`containers:
- image: %[1]s
  name: web
  resources:
    limits:
      memory: 32Mi
  securityContext:
    readOnlyRootFilesystem: true
    runAsUser: 7
  volumeMounts:
  - mountPath: /data/
    name: own
  - mountPath: /app
    name: %[2]s
- image: redis:7
  name: redis
initContainers:
- command:
  - /.kdev/agent
  - seed
  - /app
  - /.kdev/seed/0
  image: %[1]s
  name: %[3]s
  resources:
    limits:
      memory: 32Mi
  securityContext:
    readOnlyRootFilesystem: true
    runAsUser: 7
  volumeMounts:
  - mountPath: /.kdev/seed/0
    name: %[2]s
- image: %[1]s
  name: migrate
volumes:
- emptyDir: {}
  name: own
- emptyDir: {}
  name: %[2]s
`, image.Ref, volume, seed)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Equal manifests give equal objects: nothing restarts for nothing.
	again := parse(t, manifest)
	Inject(again, []Image{image})
	if changed := Compare(objects, again); len(changed) > 0 {
		t.Errorf("a second time it is %v", changed)
	}
}
