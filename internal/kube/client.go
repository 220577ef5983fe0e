package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Client talks to the API server of one context. It is safe for concurrent use.
type Client struct {
	Config  *rest.Config // QPS -1; no Timeout, since watches share it
	Context string       // the kubeconfig context, "" when built from a Config
	Server  string       // https://host:port

	Namespace string // that the context names; "" where it names none

	Core    kubernetes.Interface
	Dynamic dynamic.Interface
	Mapper  meta.ResettableRESTMapper // discovery on first use; Reset after new CRDs

	http  *http.Client // what Core and Dynamic share
	known discovery.CachedDiscoveryInterface
	pods  podPool

	streamsOnce sync.Once
	streams     kubernetes.Interface
	single      *http.Client // of streams that have a connection each; nil before Streams
}

// New opens the context of the kubeconfig file. An empty file name means
// KUBECONFIG with all its files, else ~/.kube/config; an empty context means the
// current one. Nothing is sent yet.
//
// Problems: kubeconfig-invalid, context-unknown, context-missing.
func New(kubeconfig, contextName string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	raw, err := rules.Load()
	if err != nil {
		return nil, kubeconfigProblem(kubeconfig, err)
	}
	if contextName == "" {
		contextName = raw.CurrentContext
	}
	if contextName == "" {
		summary := "the kubeconfig has no current context"
		if kubeconfig == "" && !slices.ContainsFunc(rules.Precedence, exists) {
			summary = "there is no kubeconfig"
		}
		return nil, &problem.Problem{Class: problem.Usage, Code: "context-missing",
			Summary: summary,
			Where:   rules.GetDefaultFilename(),
			Hint:    "kdev cluster create makes a local cluster; --context names another"}
	}
	if raw.Contexts[contextName] == nil {
		return nil, &problem.Problem{Class: problem.Usage, Code: "context-unknown",
			Summary: fmt.Sprintf("there is no context %q", contextName),
			Where:   rules.GetDefaultFilename(),
			Hint:    contextHint(raw)}
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, contextName, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, kubeconfigProblem(kubeconfig, err)
	}
	c, err := ForConfig(config)
	if err != nil {
		return nil, kubeconfigProblem(kubeconfig, err)
	}
	c.Context, c.Namespace = contextName, raw.Contexts[contextName].Namespace
	return c, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// ForConfig makes a Client from a ready rest.Config, which it copies.
func ForConfig(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	// client-go's 5 requests a second would make 40 objects take 20 s; the API
	// server's own priority and fairness is the limit that counts.
	config.QPS, config.Burst = -1, -1
	config.Timeout = 0
	if config.UserAgent == "" {
		config.UserAgent = "kdev"
	}
	// Warnings would go to stderr, into the middle of a dashboard.
	config.WarningHandler = rest.NoWarnings{}

	// Transports of configurations that hold functions are not shared with other
	// clients: this one is our own to change. The function is what nil stands for.
	own := rest.CopyConfig(config)
	if own.Proxy == nil {
		own.Proxy = http.ProxyFromEnvironment
	}
	shared, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, err
	}
	return forConfigAndClient(config, shared)
}

// LimitAhead bounds how many bytes of each answer the server may send ahead of whoever
// reads it; without, that is 4 MiB, which many streams that come faster than they are
// read all fill. It has to be called before anything is sent.
func (c *Client) LimitAhead(bytes int) {
	if t := transportOf(c.http.Transport); t != nil { // else plain HTTP, or a transport that was handed in
		t.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: bytes}
	}
}

func forConfigAndClient(config *rest.Config, shared *http.Client) (*Client, error) {
	// Typed clients read protobuf, which is several times cheaper to decode in
	// informers; the dynamic client needs JSON and gets the config as it is.
	typed := rest.CopyConfig(config)
	typed.ContentType = "application/vnd.kubernetes.protobuf"
	typed.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	core, err := kubernetes.NewForConfigAndClient(typed, shared)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfigAndClient(config, shared)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(core.Discovery())
	return &Client{
		Config:  config,
		http:    shared,
		Server:  config.Host,
		Core:    core,
		Dynamic: dyn,
		known:   cached,
		Mapper:  restmapper.NewDeferredDiscoveryRESTMapper(cached),
	}, nil
}

// Kinds returns the kinds that the cluster has, as far as it tells: a broken APIService
// hides those of its own group only. It reads what the Mapper has read.
func (c *Client) Kinds() []schema.GroupVersionKind {
	if c.known == nil {
		return nil // a Client put together by hand
	}
	_, lists, _ := c.known.ServerGroupsAndResources()
	var kinds []schema.GroupVersionKind
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") { // else a part of one: deployments/scale
				kinds = append(kinds, gv.WithKind(r.Kind))
			}
		}
	}
	return kinds
}

// Ping asks the API server for its version.
//
// Problems: cluster-unreachable, cluster-unauthorized.
func (c *Client) Ping(ctx context.Context) error { return c.ping(ctx, answerWithin) }

// answerWithin is how long an API server may take to say its version. One that takes
// connections and says nothing, as that of a paused node, would be waited for without end.
const answerWithin = 10 * time.Second

func (c *Client) ping(ctx context.Context, within time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := discovery.ToDiscoveryInterfaceWithContext(c.Core.Discovery()).ServerVersionWithContext(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("ask %s for its version: %w", c.Server, ctx.Err())
	case limited.Err() != nil:
		return c.Unreachable(fmt.Errorf("no answer within %s", within))
	default:
		return c.Unreachable(err)
	}
}

// Platform is that of the API server, "linux/amd64", which everybody may ask.
//
// Problems: cluster-unreachable, cluster-unauthorized, rbac-denied.
func (c *Client) Platform(ctx context.Context) (string, error) {
	v, err := discovery.ToDiscoveryInterfaceWithContext(c.Core.Discovery()).ServerVersionWithContext(ctx)
	switch {
	case err == nil:
		return v.Platform, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("ask %s for its platform: %w", c.Server, ctx.Err())
	default:
		return "", c.Unreachable(err)
	}
}

// Unreachable is the problem of an API server that does not answer, or answers
// that it does not know us, or that we may not.
func (c *Client) Unreachable(err error) *problem.Problem {
	if apierrors.IsUnauthorized(err) {
		return &problem.Problem{Code: "cluster-unauthorized", Where: "context " + c.Context,
			Summary: "the cluster does not accept this kubeconfig's credentials", Err: err,
			Hint: "log in again, or choose another context with --context"}
	}
	if apierrors.IsForbidden(err) {
		return &problem.Problem{Code: "rbac-denied", Where: "context " + c.Context,
			Summary: "this user may not do what kdev needs", Err: err,
			Hint: "`kubectl auth can-i --list -n NAMESPACE` shows what is allowed"}
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &problem.Problem{Code: "cluster-certificate", Where: "context " + c.Context,
			Summary: "the certificate of the API server at " + c.Server + " is not accepted", Err: err,
			Hint: "the kubeconfig may be of an earlier cluster of that name; `kind export kubeconfig --name NAME` writes it again"}
	}
	return &problem.Problem{Code: "cluster-unreachable", Where: "context " + c.Context,
		Summary: "the API server at " + c.Server + " does not answer", Err: err,
		Hint: "kdev cluster list shows the local clusters; kdev cluster start starts one again"}
}

// Close ends the connections to pods and waits until their goroutines are gone.
func (c *Client) Close() {
	c.pods.close()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	c.streamsOnce.Do(func() { c.streams = c.Core })
	if c.single != nil {
		c.single.CloseIdleConnections()
	}
}

func kubeconfigProblem(file string, err error) error {
	if file == "" {
		file = os.Getenv(clientcmd.RecommendedConfigPathEnvVar)
	}
	p := &problem.Problem{Class: problem.Usage, Code: "kubeconfig-invalid",
		Summary: "cannot use the kubeconfig", Where: file, Err: err,
		Hint: "kubectl config view shows what kubectl makes of it"}
	if errors.Is(err, os.ErrNotExist) {
		p.Hint = "check --kubeconfig and KUBECONFIG, or make a cluster with kdev cluster create"
	}
	return p
}

func contextHint(raw *clientcmdapi.Config) string {
	if len(raw.Contexts) == 0 {
		return "the kubeconfig holds none; kdev cluster create makes a local cluster"
	}
	return "there are: " + joinKeys(raw.Contexts)
}
