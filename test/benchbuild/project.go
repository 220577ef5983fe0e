package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kdev-io/kdev/test/runner"
)

const workload = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: PROJECT/NAME}]
`

// A project is services that are built for each save; its name is its namespace.
type project struct {
	*bench
	name     string
	dir      string
	services []string
	session  *runner.Session
}

// project makes n services of one Dockerfile. Beside the program that changes, the layer
// has something to carry.
func (b *bench) project(name string, n int, dockerfile string) (*project, error) {
	p := &project{bench: b, name: name, dir: filepath.Join(b.Dir, name)}
	files, config := map[string]string{}, "services:\n"
	for i := range n {
		svc := fmt.Sprintf("web-%02d", i)
		p.services = append(p.services, svc)
		config += "  " + svc + ": {sync: off}\n"
		files[svc+"/Dockerfile"] = dockerfile
		files[svc+"/.dockerignore"] = "Dockerfile\n.dockerignore\n"
		files[svc+"/data"] = strings.Repeat("some data of the application\n", 4000)
		files[svc+"/run.sh"] = p.program(svc, p.mark(svc))
		files["k8s/"+svc+".yaml"] = strings.NewReplacer("NAME", svc, "PROJECT", name).Replace(workload)
	}
	files["kdev.yaml"] = config
	return p, runner.Write(p.dir, files)
}

// mark is what the process of the next version of a service carries.
func (p *project) mark(service string) string {
	p.saves++
	return fmt.Sprintf("KDEV_BENCH=%s-%s-%d-%d", p.name, service, os.Getpid(), p.saves)
}

func (p *project) program(service, mark string) string { return mark + " exec sleep 100000\n" }

// up brings the project up and leaves the session there.
func (p *project) up(ctx context.Context) (err error) {
	if p.session, err = p.Start(ctx, p.dir); err != nil {
		return err
	}
	return errors.Join(p.session.Until(runner.Ready), p.settled(ctx))
}

// down ends the session and removes what it made.
func (p *project) down(ctx context.Context) error {
	err := p.session.Stop()
	_, gone := p.Call(context.WithoutCancel(ctx), p.dir, "down", "--volumes")
	return errors.Join(err, gone)
}

// save changes the programs of services, and waits until the last of the new processes
// runs: how long it took from before the first save.
func (p *project) save(ctx context.Context, services ...string) (time.Duration, error) {
	marks := make([]string, len(services))
	start := time.Now()
	for i, svc := range services {
		marks[i] = p.mark(svc)
		if err := os.WriteFile(filepath.Join(p.dir, svc, "run.sh"), []byte(p.program(svc, marks[i])), 0o644); err != nil {
			return 0, err
		}
	}
	if err := running(ctx, marks...); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// running waits for processes that carry the marks: the nodes' processes are this
// machine's. What ran before may still end; a process is new when its mark is. Those
// that were there at the first look are not looked at again, and between looks there
// is a pause: a busy loop would take one core from what is measured.
func running(ctx context.Context, marks ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	old, left := map[string]bool{}, map[string]bool{}
	for _, mark := range marks {
		left[mark] = true
	}
	for first := true; ; first = false {
		procs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err
		}
		for _, p := range procs {
			if old[p] {
				continue
			}
			env, err := os.ReadFile(p + "/environ")
			for mark := range left {
				if err == nil && strings.Contains(string(env), mark+"\x00") {
					delete(left, mark)
				}
			}
			if first {
				old[p] = true
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("no process for %d of %d marks: %w", len(left), len(marks), ctx.Err())
		}
	}
}
