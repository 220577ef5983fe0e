package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/upstream"
	"github.com/kdev-io/kdev/internal/checkout"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/transport"
)

// projectFlags are the flags of every command that works on a project in a
// cluster.
type projectFlags struct {
	context   string
	namespace string
}

// add defines the flags on a command.
func (f *projectFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.context, "context", "", "kubeconfig context (default: the current one if it is local, else kind-kdev)")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace (default: what kdev.yaml or the manifests say, else the project's name)")
}

// load finds and reads the project around env.Dir. Manifests that are not there are for who
// renders them.
func (f *projectFlags) load(env Env) (*config.Project, error) {
	return f.loadWith(env, config.LoadOptions{Version: version, Alone: true, ManifestsLate: true})
}

// loadIncluded reads the projects that it includes, too. Those that are commits of
// other repositories are fetched where they are not there; progress gets a line for each.
func (f *projectFlags) loadIncluded(ctx context.Context, env Env, progress func(string)) (*config.Project, error) {
	return f.loadWith(env, withIncluded(ctx, progress))
}

func withIncluded(ctx context.Context, progress func(string)) config.LoadOptions {
	fetch := func(a checkout.Address) (string, error) { return checkout.Get(ctx, a, progress) }
	return config.LoadOptions{Version: version, Fetch: fetch}
}

func (f *projectFlags) loadWith(env Env, options config.LoadOptions) (*config.Project, error) {
	root, err := config.Find(env.Dir)
	if err != nil {
		return nil, err
	}
	p, err := config.Load(root, options)
	if err != nil {
		return nil, err
	}
	if f.namespace != "" {
		p.Namespace = f.namespace
	}
	return p, nil
}

// parts opens, in order, what a session works with, and the registry. tell gets a
// line for each step. The returned function closes everything again, also after an error.
func (f *projectFlags) parts(ctx context.Context, env Env, p *config.Project, tell func(session.Notice)) (_ *session.Parts, _ *registry.Endpoint, _ func(), err error) {
	var closers []func()
	closeAll := func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	step := func(code, text string, start time.Time) {
		tell(session.Notice{Level: session.Done, Code: code, Text: text, Took: session.Millis(time.Since(start))})
	}
	progress := func(text string) { tell(session.Notice{Level: session.Info, Code: "progress", Text: text}) }

	docker, err := client.New(client.FromEnv)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("finding the container engine: %w", err)
	}
	closers = append(closers, func() { docker.Close() })

	start := time.Now()
	c, err := cluster.Ensure(ctx, f.cluster(p, progress))
	if err != nil {
		return nil, nil, nil, err
	}
	step("cluster", "cluster "+c.Context, start)

	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return nil, nil, nil, err
	}
	closers = append(closers, kc.Close)

	start = time.Now()
	dir, err := registry.DefaultDir()
	if err != nil {
		return nil, nil, nil, err
	}
	store, err := registry.OpenStore(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	store.OnDrop(repaired(tell))
	unlock, err := onlyOne(ctx, store, c.Context, p, leaving)
	if err != nil {
		return nil, nil, nil, err
	}
	closers = append(closers, unlock)
	target, silent, err := targetOf(ctx, p, c, kc, tell)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := rememberPulls(store, p.Root, c.Context, target); err != nil {
		return nil, nil, nil, err
	}
	endpoint, err := serve(ctx, docker, store, c, kc, target != nil, silent, progress)
	if err != nil {
		return nil, nil, nil, err
	}
	where, pulls := endpoint.Host, endpoint.Host
	if target != nil {
		where, pulls = target.Push, target.Pull
	}
	step("registry", "registry "+where, start)
	tellUnaided(c, tell)

	index, err := tree.Open(p.Root)
	if err != nil {
		return nil, nil, nil, err
	}
	closers = append(closers, func() { index.Close() })

	liveCtx, stopLive := context.WithCancel(ctx)
	live, err := kube.Watch(liveCtx, kc, p.Namespace)
	if err != nil {
		stopLive()
		return nil, nil, nil, err
	}
	closers = append(closers, func() { stopLive(); live.Wait() })

	platform, err := nodePlatform(ctx, kc)
	if err != nil {
		return nil, nil, nil, err
	}
	runs, closeRuns, err := withBuildKit(env, p, opened(kc), progress)
	if err != nil {
		return nil, nil, nil, err
	}
	closers = append(closers, closeRuns)
	builder := build.New(docker, store, endpoint, index, runs...)
	if target != nil {
		builder = build.Sent(builder, store, endpoint, *target)
	}
	provide := upstream.New(docker, store, endpoint).Provide
	if len(c.Nodes) == 0 { // no node asks this machine
		provide = func(context.Context, []string, func(string)) error { return nil }
	}
	deployer := deploy.New(kc, deploy.Options{Project: p.Name, Namespace: p.Namespace, Root: p.Root})
	closers = append(closers, deployer.Close)
	parts := &session.Parts{
		Cluster:  c,
		Kube:     kc,
		Live:     live,
		Deployer: deployer,
		Builder:  builder,
		Compiler: build.NewCompiler(store),
		Store:    store,
		Index:    index,
		Dial:     transport.Exec(kc.Config),
		Platform: platform,
		Registry: pulls,
		ImageID:  build.ImageIDs(docker, runs...),
		Provide:  provide,
	}
	return parts, endpoint, closeAll, nil
}

// How long a new session waits for another one to have left.
const (
	leaving = 200 * time.Millisecond // that may be just leaving
	stopped = 10 * time.Second       // that was told to
)

// onlyOne refuses a second session for the same namespace: two that sync into
// the same containers would undo each other's work.
func onlyOne(ctx context.Context, store *registry.Store, contextName string, p *config.Project, patience time.Duration) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sum := sha256.Sum256([]byte(contextName + "\x00" + p.Namespace))
	unlock, err := store.Lock(ctx, "up-"+hex.EncodeToString(sum[:8]))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, &problem.Problem{Code: "already-up", Where: "context " + contextName + ", namespace " + p.Namespace,
			Summary: "another `kdev up` is at work there",
			Hint:    "use the one that runs, end it with Ctrl-C or `kdev stop`, or bring this project up in a namespace of its own: `kdev up -n NAME`"}
	}
	return unlock, err
}

// cluster says which cluster the project wants.
func (f *projectFlags) cluster(p *config.Project, progress func(string)) cluster.Options {
	return cluster.Options{
		Context:  f.context,
		Allowed:  p.Contexts,
		Nodes:    p.Cluster.Nodes,
		Version:  p.Cluster.Version,
		Progress: progress,
	}
}

// nodePlatform is what images are built for: that of the cluster's nodes. Who may not list
// these gets that of the API server, which is on one of them in a local cluster.
func nodePlatform(ctx context.Context, kc *kube.Client) (string, error) {
	nodes, err := kc.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsForbidden(err) {
		return kc.Platform(ctx)
	}
	if err != nil {
		return "", kc.Unreachable(err)
	}
	if len(nodes.Items) == 0 {
		return "", errors.New("the cluster has no node")
	}
	info := nodes.Items[0].Status.NodeInfo
	return info.OperatingSystem + "/" + info.Architecture, nil
}
