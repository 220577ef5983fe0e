package cli

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/embedded"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/transport"
)

// syncOptions are the flags of `kdev sync`.
type syncOptions struct {
	env    Env
	flags  projectFlags
	output string
}

func newSync(env Env) *cobra.Command {
	o := &syncOptions{env: env}
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Sync saved files into pods that run already",
		Long: `Sync copies saved files into the containers that run the images of the project's
services, whoever deployed them. It builds nothing and applies nothing; what a
save asks for beyond that is named. A container without kdev's agent gets one by
exec and tar: files are synced, but its process cannot be restarted in place.
"kdev up" syncs by itself.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.flags.add(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json: one object for each thing that happens")
	cmd.AddCommand(newSyncExplain(env), newSyncStatus(env), newSyncPull(env))
	return cmd
}

func (o *syncOptions) run(ctx context.Context) error {
	p, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	up := &upOptions{env: o.env, output: o.output}
	face, err := up.face(p, term.Detect(o.env.Out, term.ColorAuto, o.env.Getenv))
	if err != nil {
		return err
	}
	return errors.Join(o.with(ctx, p, face), face.close())
}

// with opens what an attached session needs, and runs it until it is interrupted.
func (o *syncOptions) with(ctx context.Context, p *config.Project, face face) error {
	find := o.flags.cluster(p, steps(o.env))
	find.NoCreate = true
	c, err := cluster.Ensure(ctx, find)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	unlock, err := onlyOne(ctx, store, c.Context, p, leaving)
	if err != nil {
		return err
	}
	defer unlock()
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return err
	}
	defer kc.Close()
	index, err := tree.Open(p.Root)
	if err != nil {
		return err
	}
	defer index.Close()
	live, stop, err := watchNamespace(ctx, kc, p.Namespace)
	if err != nil {
		return err
	}
	defer stop()
	s := session.New(session.Options{Project: p, Attach: true, NoPorts: true}, session.Parts{
		Cluster: c, Kube: kc, Live: live, Store: store, Index: index, Dial: transport.Carry(kc.Config, agentFor(kc)),
	})
	s.OnNotice(face.notice)
	if err := s.Run(ctx); err != nil {
		return err
	}
	return exitCode(exitInterrupted)
}

// watchNamespace is kube.Watch with an end that waits.
func watchNamespace(ctx context.Context, kc *kube.Client, namespace string) (*kube.Namespace, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	live, err := kube.Watch(ctx, kc, namespace)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return live, func() { cancel(); live.Wait() }, nil
}

// agentFor returns the agent for the node that a pod runs on.
func agentFor(kc *kube.Client) func(ctx context.Context, namespace, pod string) ([]byte, error) {
	var mu sync.Mutex
	archs := map[string]string{} // of nodes
	return func(ctx context.Context, namespace, name string) ([]byte, error) {
		pod, err := kc.Core.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		arch := archs[pod.Spec.NodeName]
		if arch == "" {
			node, err := kc.Core.CoreV1().Nodes().Get(ctx, pod.Spec.NodeName, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			arch, _, _ = strings.Cut(node.Status.NodeInfo.Architecture, "/")
			archs[pod.Spec.NodeName] = arch
		}
		return embedded.Program(ctx, "kdev-agent", arch)
	}
}
