package cli

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/sync/transport"
)

// A syncView looks at the containers of a project, beside the session that syncs
// them.
type syncView struct {
	project *config.Project
	kube    *kube.Client
	dial    transport.Dialer
	pods    []*corev1.Pod
}

// containers finds the cluster and the pods; close ends it.
func (f *projectFlags) containers(ctx context.Context, env Env) (*syncView, error) {
	p, err := f.load(env)
	if err != nil {
		return nil, err
	}
	find := f.cluster(p, nil)
	find.NoCreate = true
	c, err := cluster.Ensure(ctx, find)
	if err != nil {
		return nil, err
	}
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return nil, err
	}
	list, err := kc.Core.CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		kc.Close()
		return nil, kc.Unreachable(err)
	}
	v := &syncView{project: p, kube: kc, dial: transport.Exec(kc.Config)}
	for i := range list.Items {
		v.pods = append(v.pods, &list.Items[i])
	}
	return v, nil
}

func (v *syncView) close() { v.kube.Close() }

// running lists the containers of a service, sorted.
func (v *syncView) running(cs config.Service) []mirror.Container {
	list := session.Running(v.project, cs, v.pods)
	slices.SortFunc(list, func(a, b mirror.Container) int {
		return slices.Compare([]string{a.Pod, a.Name}, []string{b.Pod, b.Name})
	})
	return list
}

// noContainer is the problem of a service that does not run.
func noContainer(service, namespace string) error {
	return &problem.Problem{Code: "sync-no-container", Summary: "no container of " + service + " runs in namespace " + namespace, Hint: "bring it up with `kdev up`"}
}
