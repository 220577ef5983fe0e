package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/test/figures"
	"github.com/kdev-io/kdev/test/runner"
)

// service is four objects of a service; it runs nothing, so that only the API is asked.
const service = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: a, image: "debian:bookworm-slim", resources: {limits: {cpu: 500m}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {a: VALUE}
---
apiVersion: v1
kind: Secret
metadata: {name: NAME}
stringData: {a: b}
`

// services writes a kustomize base of n services and an overlay, and returns its root.
func (b *bench) services(n int) (root string, err error) {
	if root, err = os.MkdirTemp(b.Dir, "services"); err != nil {
		return "", err
	}
	files := map[string]string{"overlay/kustomization.yaml": "resources: [../base]\n"}
	var names []string
	for i := range n {
		name := fmt.Sprintf("svc-%03d", i)
		names = append(names, name+".yaml")
		files["base/"+name+".yaml"] = strings.NewReplacer("NAME", name, "VALUE", "b").Replace(service)
	}
	files["base/kustomization.yaml"] = "resources: [" + strings.Join(names, ", ") + "]\n"
	return root, runner.Write(root, files)
}

// overlay renders what services wrote.
func overlay(ctx context.Context, root string) ([]*deploy.Object, error) {
	m, err := deploy.Render(ctx, root, []deploy.Source{{Kustomize: "overlay"}})
	if err != nil {
		return nil, err
	}
	return m.Objects, nil
}

// render measures a hundred objects by kustomize, in a process that has done so before.
func (b *bench) render(ctx context.Context) error {
	root, err := b.services(25)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range 11 {
		start := time.Now()
		if _, err := overlay(ctx, root); err != nil {
			return err
		}
		if i > 0 {
			took = append(took, time.Since(start))
		}
	}
	ms, all := figures.Median(took)
	b.table.Add(figures.Figure{Name: "render 100 objects by kustomize, warm: median", Value: ms, Unit: "ms", Aim: 100, All: all})
	return nil
}

// apply measures what an apply costs: from nothing, unchanged, and with one change.
func (b *bench) apply(ctx context.Context) (err error) {
	for _, n := range []int{100, 500} {
		if err := b.applies(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) applies(ctx context.Context, n int) (err error) {
	root, err := b.services(n / 4)
	if err != nil {
		return err
	}
	objects, err := overlay(ctx, root)
	if err != nil {
		return err
	}
	d := deploy.New(b.kube, deploy.Options{Project: "bench", Namespace: fmt.Sprintf("bench-%d", n), Root: root})
	defer d.Close()
	defer func() {
		_, gone := d.Down(context.WithoutCancel(ctx), deploy.DownOptions{})
		err = errors.Join(err, gone)
	}()
	timed := func() (time.Duration, error) {
		b.traffic.reset()
		start := time.Now()
		_, err := d.Apply(ctx, deploy.Copy(objects))
		return time.Since(start), err
	}
	first, err := timed()
	if err != nil {
		return err
	}
	fresh := figures.Figure{Name: fmt.Sprintf("apply %d objects from nothing", n), Value: first.Seconds(), Unit: "s"}
	if n == 500 {
		fresh.Aim = 15
	}
	b.table.Add(fresh)
	var unchanged, changed []time.Duration
	writes := 0.0
	for range 7 {
		took, err := timed()
		if err != nil {
			return err
		}
		unchanged, writes = append(unchanged, took), max(writes, float64(b.traffic.writes.Load()))
	}
	for i := range 7 {
		for _, o := range objects {
			if o.GetKind() == "ConfigMap" && o.GetName() == "svc-003" {
				o.Object["data"] = map[string]any{"a": fmt.Sprint("changed ", i)}
			}
		}
		took, err := timed()
		if err != nil {
			return err
		}
		changed = append(changed, took)
	}
	ms, all := figures.Median(unchanged)
	same := figures.Figure{Name: fmt.Sprintf("apply %d unchanged objects: median", n), Value: ms, Unit: "ms", All: all}
	ms, all = figures.Median(changed)
	one := figures.Figure{Name: fmt.Sprintf("apply %d objects of which one has changed: median", n), Value: ms, Unit: "ms", All: all}
	if n == 100 {
		same.Aim, one.Aim = 300, 150
	}
	b.table.Add(same)
	b.table.Add(figures.Figure{Name: fmt.Sprintf("apply %d unchanged objects: writes", n), Value: writes, Unit: "", None: true})
	b.table.Add(one)
	return nil
}
