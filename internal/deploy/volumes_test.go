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
	// A native sidecar has a volume of its own, filled before it starts.
	sidecar := parse(t, `
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers: [{name: migrate, image: web}, {name: side, image: web, restartPolicy: Always}]
  containers: [{name: redis, image: "redis:7"}]
`)
	if in := Inject(sidecar, []Image{image}); len(in.Declared) != 2 {
		t.Errorf("declared %v", in.Declared)
	}
	got, err = yaml.Marshal(sidecar[0].Object["spec"].(map[string]any)["initContainers"])
	if err != nil {
		t.Fatal(err)
	}
	app, data := volumeName("kdev-sync", "side", "/app"), volumeName("kdev-sync", "side", "/data")
	want = fmt.Sprintf(`- command:
  - /.kdev/agent
  - seed
  - /app
  - /.kdev/seed/0
  - /data
  - /.kdev/seed/1
  image: %[1]s
  name: %[2]s
  volumeMounts:
  - mountPath: /.kdev/seed/0
    name: %[3]s
  - mountPath: /.kdev/seed/1
    name: %[4]s
- image: %[1]s
  name: migrate
- image: %[1]s
  name: side
  restartPolicy: Always
  volumeMounts:
  - mountPath: /app
    name: %[3]s
  - mountPath: /data
    name: %[4]s
`, image.Ref, volumeName("kdev-seed", "side"), app, data)
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
