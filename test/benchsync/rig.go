package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/upstream"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/transport"
)

const clusterName = "kdev-bench-sync"

// A rig is a cluster with a registry, for one project after the other.
type rig struct {
	docker   *client.Client
	kube     *kube.Client
	cluster  *cluster.Cluster
	store    *registry.Store
	ep       *registry.Endpoint
	root     string
	node     string // address
	platform string
	projects int
}

// closers run in the reverse order.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	*c = nil
	return errors.Join(errs...)
}

func newRig(ctx context.Context, o options) (_ *rig, closeAll func() error, err error) {
	var cs closers
	defer func() {
		if err != nil {
			err = errors.Join(err, cs.close())
		}
	}()
	r := &rig{}
	if r.root, err = os.MkdirTemp("", "kdev-bench-"); err != nil {
		return nil, nil, err
	}
	cs.add(func() error { return os.RemoveAll(r.root) })
	if r.docker, err = client.New(client.FromEnv); err != nil {
		return nil, nil, err
	}
	cs.add(r.docker.Close)
	say := func(s string) { log.Print(s) }
	opts := cluster.Options{Name: clusterName, Context: "kind-" + clusterName, Kubeconfig: filepath.Join(os.TempDir(), clusterName+".kubeconfig"), Progress: say}
	if !o.keep {
		cs.add(func() error {
			_, err := cluster.Delete(context.WithoutCancel(ctx), opts)
			return errors.Join(err, os.RemoveAll(opts.Kubeconfig))
		})
	}
	if r.cluster, err = cluster.Ensure(ctx, opts); err != nil {
		return nil, nil, err
	}
	if r.kube, err = kube.New(opts.Kubeconfig, r.cluster.Context); err != nil {
		return nil, nil, err
	}
	cs.add(func() error { r.kube.Close(); return nil })
	if r.store, err = registry.OpenStore(filepath.Join(r.root, "store")); err != nil {
		return nil, nil, err
	}
	cs.add(func() error {
		_, err := registry.Remove(context.WithoutCancel(ctx), r.docker, r.store)
		return err
	})
	if r.ep, err = registry.Ensure(ctx, r.docker, r.store, say); err != nil {
		return nil, nil, err
	}
	if err = r.ep.Connect(ctx, r.docker, r.cluster.Nodes, r.kube.Core.CoreV1()); err != nil {
		return nil, nil, err
	}
	nodes, err := r.kube.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == "InternalIP" {
			r.node = a.Address
		}
	}
	info := nodes.Items[0].Status.NodeInfo
	r.platform = info.OperatingSystem + "/" + info.Architecture
	return r, cs.close, nil
}

// A project is a folder that is brought up.
type project struct {
	*rig
	name, dir string
	wire      *wire

	mu      sync.Mutex
	notices []session.Notice
}

// file writes a file of the project.
func (p *project) file(name, content string) error {
	full := filepath.Join(p.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return os.WriteFile(full, []byte(content), 0o644)
}

// files writes several.
func (p *project) files(all map[string]string) error {
	for name, content := range all {
		if err := p.file(name, content); err != nil {
			return err
		}
	}
	return nil
}

// newProject makes the folder of a project.
func (r *rig) newProject(name string) (*project, error) {
	r.projects++
	p := &project{rig: r, name: fmt.Sprintf("%s-%d-%d", name, os.Getpid(), r.projects), wire: &wire{}}
	p.dir = filepath.Join(r.root, "projects", p.name)
	return p, os.MkdirAll(p.dir, 0o755)
}

// up brings the project up as `kdev up` does and returns when it is ready. dial
// is nil for the way that kdev takes. What is returned ends it and removes the
// project's namespace.
func (p *project) up(ctx context.Context, dial transport.Dialer) (down func() error, err error) {
	var cs closers
	defer func() {
		if err != nil {
			err = errors.Join(err, cs.close())
		}
	}()
	cfg, err := config.Load(p.dir, config.LoadOptions{})
	if err != nil {
		return nil, err
	}
	cfg.Namespace = p.name
	index, err := tree.Open(p.dir)
	if err != nil {
		return nil, err
	}
	cs.add(index.Close)
	liveCtx, stopLive := context.WithCancel(ctx)
	live, err := kube.Watch(liveCtx, p.kube, p.name)
	if err != nil {
		stopLive()
		return nil, err
	}
	cs.add(func() error { stopLive(); live.Wait(); return nil })
	if dial == nil {
		dial = transport.Exec(p.kube.Config)
	}
	p.wire.inner = dial
	s := session.New(session.Options{Project: cfg, NoPorts: true}, session.Parts{
		Cluster: p.cluster, Kube: p.kube, Live: live,
		Deployer: deploy.New(p.kube, deploy.Options{Project: p.name, Namespace: p.name, Root: p.dir}),
		Builder:  build.New(p.docker, p.store, p.ep, index),
		Compiler: build.NewCompiler(p.store),
		Store:    p.store, Index: index, Dial: p.wire, Platform: p.platform,
		Provide: upstream.New(p.docker, p.store, p.ep).Provide,
	})
	s.OnNotice(p.notice)
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(runCtx) }()
	cs.add(func() error {
		stop()
		err := <-ended
		gone := p.kube.Core.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), p.name, metav1.DeleteOptions{})
		return errors.Join(err, gone)
	})
	return cs.close, p.ready(ctx, s)
}

func (p *project) notice(n session.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notices = append(p.notices, n)
}

func (p *project) ready(ctx context.Context, s *session.Session) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	changed, end := s.Subscribe()
	defer end()
	for !s.State().Ready {
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the project is not ready: %w\n%s", ctx.Err(), p.said())
		}
	}
	return nil
}

// said is what the session told.
func (p *project) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, n := range p.notices {
		line := fmt.Sprintf("%s %s %s", n.Service, n.Code, n.Text)
		if n.Problem != nil {
			line += ": " + n.Problem.Error()
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
