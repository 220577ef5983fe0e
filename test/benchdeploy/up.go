package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/test/figures"
	"github.com/kdev-io/kdev/test/runner"
)

// up measures kdev itself, from its start to what it says.
func (b *bench) up(ctx context.Context) error {
	one, err := b.project("one", 1)
	if err != nil {
		return err
	}
	if err := b.starts(ctx, one, 1); err != nil {
		return err
	}
	if err := b.cause(ctx, one); err != nil {
		return err
	}
	if _, err := b.Call(ctx, one, "down", "--volumes"); err != nil {
		return err
	}
	many, err := b.project("many", 20)
	if err != nil {
		return err
	}
	if err := b.starts(ctx, many, 20); err != nil {
		return err
	}
	_, err = b.Call(ctx, many, "down", "--volumes")
	return err
}

const workload = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: PROJECT/NAME, command: [sleep, "1000000"]}]
`

// project is n services whose images are a file on a base.
func (b *bench) project(name string, n int) (dir string, err error) {
	dir = filepath.Join(b.Dir, name)
	files := map[string]string{}
	services := "services:\n"
	for i := range n {
		svc := fmt.Sprintf("web-%02d", i)
		services += "  " + svc + ": {}\n"
		files[svc+"/Dockerfile"] = "FROM busybox:1\nWORKDIR /app\nCOPY page.txt .\n"
		files[svc+"/page.txt"] = "a page\n"
		files["k8s/"+svc+".yaml"] = strings.NewReplacer("NAME", svc, "PROJECT", name).Replace(workload)
	}
	files["kdev.yaml"] = services
	return dir, runner.Write(dir, files)
}

// starts measures the first start of a project and the second, at which nothing differs.
func (b *bench) starts(ctx context.Context, dir string, n int) error {
	what := fmt.Sprintf("%d services", n)
	if n == 1 {
		what = "one service"
		// The registry is there before the first start that counts.
		if _, err := b.Call(ctx, dir, "registry", "serve"); err != nil {
			return err
		}
	}
	once := func() (time.Duration, error) {
		start := time.Now()
		r, err := b.Start(ctx, dir)
		if err != nil {
			return 0, err
		}
		err = r.Until(runner.Ready)
		took := time.Since(start)
		return took, errors.Join(err, r.Stop())
	}
	// The first of all also starts the first pod that the node ever ran.
	rounds := 1
	if n == 1 {
		rounds = 5
	}
	var firsts []time.Duration
	for i := range rounds {
		if i > 0 {
			if _, err := b.Call(ctx, dir, "down", "--volumes"); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "web-00", "page.txt"), fmt.Appendf(nil, "page %d\n", i), 0o644); err != nil {
				return err
			}
		}
		took, err := once()
		if err != nil {
			return err
		}
		firsts = append(firsts, took)
	}
	first := figures.Figure{Name: "first kdev up of " + what + ", until ready: median", Unit: "s"}
	again := figures.Figure{Name: "second kdev up of " + what + ", unchanged, until it watches: median", Unit: "ms", Aim: 1000}
	if n == 1 {
		first.Aim, again.Aim = 1.3, 500
	}
	first.Value, first.All = figures.Median(firsts)
	first.Value /= 1000
	for i := range first.All {
		first.All[i] /= 1000
	}
	b.table.Add(first)
	before, err := b.versions(ctx, filepath.Base(dir))
	if err != nil {
		return err
	}
	var all []time.Duration
	for range 5 {
		took, err := once()
		if err != nil {
			return err
		}
		all = append(all, took)
	}
	after, err := b.versions(ctx, filepath.Base(dir))
	if err != nil {
		return err
	}
	again.Value, again.All = figures.Median(all)
	b.table.Add(again)
	written := 0
	for name, version := range after {
		if before[name] != version {
			written++
		}
	}
	b.table.Add(figures.Figure{Name: "second kdev up of " + what + ", unchanged: objects written", Value: float64(written), None: true})
	return nil
}

// versions is the resource version of each workload and pod of a namespace.
func (b *bench) versions(ctx context.Context, namespace string) (map[string]string, error) {
	all := map[string]string{}
	deployments, err := b.kube.Core.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, d := range deployments.Items {
		all["Deployment/"+d.Name] = d.ResourceVersion
	}
	pods, err := b.kube.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	for _, p := range pods.Items {
		all["Pod/"+p.Name] = string(p.UID)
	}
	return all, err
}

// cause measures from a save that breaks a service until kdev says why.
func (b *bench) cause(ctx context.Context, dir string) error {
	r, err := b.Start(ctx, dir)
	if err != nil {
		return err
	}
	if err := r.Until(runner.Ready); err != nil {
		return errors.Join(err, r.Stop())
	}
	manifest := filepath.Join(dir, "k8s", "web-00.yaml")
	good, err := os.ReadFile(manifest)
	if err != nil {
		return errors.Join(err, r.Stop())
	}
	bad := strings.Replace(string(good), "command: [sleep", "command: [slep", 1)
	var took []time.Duration
	for range 5 {
		start := time.Now()
		if err := os.WriteFile(manifest, []byte(bad), 0o644); err != nil {
			return errors.Join(err, r.Stop())
		}
		if err := r.Until(func(e runner.Event) bool { return e.Problem != nil && e.Problem.Code == "command-not-found" }); err != nil {
			return errors.Join(err, r.Stop())
		}
		took = append(took, time.Since(start))
		if err := os.WriteFile(manifest, good, 0o644); err != nil {
			return errors.Join(err, r.Stop())
		}
		if err := r.Until(runner.Ready); err != nil {
			return errors.Join(err, r.Stop())
		}
	}
	ms, all := figures.Median(took)
	b.table.Add(figures.Figure{Name: "a command that is not there, from the save to its cause: median", Value: ms, Unit: "ms", Aim: 1000, All: all})
	return r.Stop()
}
