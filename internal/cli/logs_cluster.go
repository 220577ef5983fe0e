package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A logsCluster is one cluster to read from.
type logsCluster struct {
	name       string // shown where there are several
	context    string
	client     *kube.Client
	namespaces []string
	owned      map[string]string      // label of the owners that are wanted; nil is any
	also       func(*corev1.Pod) bool // pods that are wanted besides; nil is none
	limited    bool                   // by --qps: its requests are counted
}

// clusters opens the clusters that are meant: those of --context, the project's
// when there is one around, else the kubeconfig's current one.
func (p *logsPlan) clusters(ctx context.Context) (_ []*logsCluster, closeAll func(), err error) {
	o := p.o
	var out []*logsCluster
	closeAll = func() {
		for _, c := range out {
			c.client.Close()
		}
	}
	contexts := unique(o.contexts)
	find := p.projectCluster
	if o.environment != "" {
		find = p.environmentCluster
	}
	c, err := find(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c != nil {
		out = append(out, c)
		return out, closeAll, nil
	}
	if len(o.query) == 0 && o.selector == "" && o.fieldSelector == "" && !o.prompt {
		return nil, nil, badLogs(errors.New("one of pod-query, --selector, --field-selector, --prompt or --stdin is required"))
	}
	if len(contexts) == 0 {
		contexts = []string{""}
	}
	for _, name := range contexts {
		c, err := o.open(name)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		if len(contexts) > 1 {
			c.name = name
		}
		out = append(out, c)
	}
	return out, closeAll, nil
}

// projectCluster opens the cluster of the project around env.Dir; nil where there is
// none, or another cluster is meant.
func (p *logsPlan) projectCluster(ctx context.Context) (*logsCluster, error) {
	project, contextName, err := p.o.projectPlace(ctx, false)
	if project == nil || err != nil {
		return nil, err
	}
	c, err := p.o.open(contextName)
	if err != nil {
		return nil, err
	}
	if p.o.kube.server == "" && p.o.kube.cluster == "" {
		p.project = project // whose lines are kept
	}
	c.namespaces = p.o.wanted(project.Namespace)
	if len(p.o.query) == 0 && p.o.selector == "" && p.o.fieldSelector == "" {
		c.owned, err = projectLabel(ctx, c.client, project)
		if known := problem.As(err); p.remote != nil && known != nil && known.Code == "logs-not-deployed" {
			err = nil // it is on its way
		}
		if err != nil {
			c.client.Close()
			return nil, err
		}
	}
	if p.remote != nil {
		p.withSession(c)
	}
	return c, nil
}

// environmentCluster opens the cluster of --env. Without a query everything is shown that
// kdev deployed there; where something else deploys, every pod of the namespace.
func (p *logsPlan) environmentCluster(ctx context.Context) (*logsCluster, error) {
	o := p.o
	flags := environmentFlags{env: o.environment}
	project, e, err := flags.load(o.env)
	if err != nil {
		return nil, err
	}
	found, err := flags.ensure(ctx, project, e, false, func(string) {})
	if err != nil {
		return nil, err
	}
	c, err := o.open(found.Context)
	if err != nil {
		return nil, err
	}
	c.namespaces = o.wanted(e.Namespace)
	if len(o.query) > 0 || o.selector != "" || o.fieldSelector != "" {
		return c, nil
	}
	project.Namespace = e.Namespace
	c.owned, err = projectLabel(ctx, c.client, project)
	if known := problem.As(err); known != nil && known.Code == "logs-not-deployed" {
		p.notices.say("kdev deployed nothing in namespace " + e.Namespace + " of " + found.Context + ": every pod there is shown")
		err = nil
	}
	if err != nil {
		c.client.Close()
		return nil, err
	}
	return c, nil
}

// projectPlace finds the project around env.Dir and the context that it is in; no project
// where there is none, or a flag means something else: another file, several contexts, or
// one that is not the project's. Connection flags change how that context is talked to.
// looking starts no cluster.
func (o *logsOptions) projectPlace(ctx context.Context, looking bool) (*config.Project, string, error) {
	contexts := unique(o.contexts)
	if o.kubeconfig != "" || len(contexts) > 1 {
		return nil, "", nil
	}
	if _, err := config.Find(o.env.Dir); err != nil {
		return nil, "", nil
	}
	flags := projectFlags{}
	project, err := flags.load(o.env)
	if err != nil {
		if len(contexts) > 0 {
			return nil, "", nil // whose context it is cannot be known
		}
		return nil, "", err
	}
	about, up := o.standing()
	switch {
	case len(contexts) > 0 && !slices.Contains(project.Contexts, contexts[0]) && !(up && contexts[0] == about.Context) && !o.byDefault(contexts[0]):
		return nil, "", nil
	case len(contexts) > 0:
		flags.context = contexts[0]
	case up:
		flags.context = about.Context // where it is up, wherever that is
	}
	if up && flags.context == about.Context {
		project.Namespace = about.Namespace
	}
	find := flags.cluster(project, func(string) {})
	find.NoCreate, find.NoStart = true, looking
	found, err := cluster.Ensure(ctx, find)
	switch {
	case err == nil:
		return project, found.Context, nil
	case o.kube.server != "" && ctx.Err() == nil: // nothing of a context is needed then
		return nil, "", nil
	case len(contexts) > 0 && problem.As(err) != nil && problem.As(err).Code == "context-not-local":
		return nil, "", nil
	}
	return nil, "", err
}

// byDefault says whether a context is one that a project may be in without being told so:
// the current one, which has to be local, or that of the cluster that kdev makes.
func (o *logsOptions) byDefault(contextName string) bool {
	if contextName == "kind-"+cluster.DefaultName {
		return true
	}
	loader, err := o.loader("")
	if err != nil {
		return false
	}
	raw, err := loader.RawConfig()
	return err == nil && raw.CurrentContext == contextName
}

// withSession looks for pods of the projects that the session includes too, in their
// namespaces. Without a query what it owns is wanted, even before anything else tells
// whose the pods of a first start are.
func (p *logsPlan) withSession(c *logsCluster) {
	remote, own, queried := p.remote, c.namespaces, len(p.o.query) > 0
	c.also = func(pod *corev1.Pod) bool {
		return queried && slices.Contains(own, pod.Namespace) || remote.State().ServiceOf(pod.Namespace, pod.Name) != ""
	}
	if len(unique(p.o.namespaces)) == 0 {
		c.namespaces = remote.State().Namespaces()
	}
}

// idLabel is that of KEP-3659: on the ConfigMap that stands for a project it holds
// the value that its members carry as part-of.
const (
	idLabel     = "applyset.kubernetes.io/id"
	partOfLabel = "applyset.kubernetes.io/part-of"
)

// projectLabel is the label of every object that the project deployed.
func projectLabel(ctx context.Context, client *kube.Client, project *config.Project) (map[string]string, error) {
	cm, err := client.Core.CoreV1().ConfigMaps(project.Namespace).Get(ctx, "kdev-"+project.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, &problem.Problem{Code: "logs-not-deployed", Where: "namespace " + project.Namespace,
			Summary: "project " + project.Name + " is not deployed in context " + client.Context,
			Hint:    "`kdev up` deploys it; `kdev logs .` shows every pod of the namespace"}
	}
	if err != nil {
		return nil, client.Unreachable(err)
	}
	return map[string]string{partOfLabel: cm.Labels[idLabel]}, nil
}

// wanted are the namespaces to read.
func (o *logsOptions) wanted(byDefault string) []string {
	if o.allNamespaces {
		return []string{""}
	}
	if list := unique(o.namespaces); len(list) > 0 {
		return list
	}
	return []string{byDefault}
}

// streamAhead is how much of each log may wait here to be read: half a second's worth of
// a container that writes a thousand lines a second.
const streamAhead = 64 << 10

// open makes the client of one context of the kubeconfig; "" is the current one.
func (o *logsOptions) open(name string) (*logsCluster, error) {
	c := &logsCluster{context: name}
	loader, err := o.loader(name)
	if err != nil {
		return nil, badLogs(err)
	}
	if o.kube.set() {
		var restConfig *rest.Config
		restConfig, err = loader.ClientConfig()
		if err == nil && o.kube.clientKey != "" && restConfig.CertFile == "" && len(restConfig.CertData) == 0 {
			err = errors.New("--client-key is of no use without --client-certificate")
		}
		if err == nil {
			c.client, err = kube.ForConfig(restConfig)
		}
	} else {
		c.client, err = kube.New(o.kubeconfig, name)
	}
	if err != nil {
		return nil, badLogs(err)
	}
	c.client.LimitAhead(streamAhead)
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, badLogs(err)
	}
	c.namespaces = o.wanted(namespace)
	if c.client.Context == "" {
		c.client.Context = name // of a configuration that flags changed
	}
	c.context = c.client.Context
	if o.qps > 0 {
		limited := rest.CopyConfig(c.client.Config)
		limited.QPS, limited.Burst = o.qps, o.burst
		if o.burst <= 0 {
			limited.Burst = rest.DefaultBurst
		}
		if c.client.Core, err = kubernetes.NewForConfig(limited); err != nil {
			return nil, err
		}
		c.limited = true
	}
	return c, nil
}

// streams is the client that reads logs. A limit of requests is that of the client which
// was made for it.
func (c *logsCluster) streams() kubernetes.Interface {
	if c.limited {
		return c.client.Core
	}
	return c.client.Streams()
}

// set says whether a connection flag was given that a kubeconfig alone cannot mean.
func (k *kubeFlags) set() bool {
	return k.as != "" || k.asUID != "" || len(k.asGroups) > 0 || k.certificateAuthority != "" || k.clientCertificate != "" ||
		k.clientKey != "" || k.cluster != "" || k.disableCompression || k.insecure || k.requestTimeout != "0" ||
		k.server != "" || k.tlsServerName != "" || k.token != "" || k.user != ""
}

func (o *logsOptions) loader(contextName string) (clientcmd.ClientConfig, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	k := &o.kube
	if _, err := clientcmd.ParseTimeout(k.requestTimeout); err != nil {
		return nil, fmt.Errorf("--request-timeout: %w", err)
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{
		CurrentContext: contextName,
		Context:        clientcmdapi.Context{Cluster: k.cluster, AuthInfo: k.user},
		Timeout:        k.requestTimeout,
		ClusterInfo: clientcmdapi.Cluster{Server: k.server, TLSServerName: k.tlsServerName, InsecureSkipTLSVerify: k.insecure,
			CertificateAuthority: k.certificateAuthority, DisableCompression: k.disableCompression},
		AuthInfo: clientcmdapi.AuthInfo{Token: k.token, ClientCertificate: k.clientCertificate, ClientKey: k.clientKey,
			Impersonate: k.as, ImpersonateUID: k.asUID, ImpersonateGroups: k.asGroups},
	}), nil
}
