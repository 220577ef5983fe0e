package buildkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/connhelper/kubepod"

	// Each is a command on this machine whose standard streams are the connection.
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer"
	_ "github.com/moby/buildkit/client/connhelper/nerdctlcontainer"
	_ "github.com/moby/buildkit/client/connhelper/podmancontainer"
	_ "github.com/moby/buildkit/client/connhelper/ssh"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// InCluster is the address of the BuildKit that kdev starts in the cluster.
const InCluster = "cluster"

// Schemes are the addresses that can be written beside InCluster.
var schemes = []string{"tcp", "unix", "ssh", "kube-pod", "docker-container", "podman-container", "nerdctl-container"}

// answerLimit is how long a BuildKit may take to say that it is there.
const answerLimit = 15 * time.Second

// Options say where a BuildKit is.
type Options struct {
	Address string // "tcp://builder.corp:1234", or InCluster
	TLS     TLS    // for tcp

	Image    string // for InCluster; empty: that of upstream, of the client's version
	Rootless bool   // for InCluster: Image is one of rootless BuildKit
	Config   string // for InCluster: a file, buildkitd.toml

	// Cluster opens the cluster for InCluster when it is first needed. The client
	// stays the caller's.
	Cluster  func(ctx context.Context) (*kube.Client, error)
	Progress func(text string) // may be nil
}

// TLS names the files with which tcp is spoken. Without any it is spoken plainly.
type TLS struct{ CA, Cert, Key, ServerName string }

func (t TLS) wanted() bool { return t != TLS{} }

// A Server is a BuildKit that may answer. It is safe for concurrent use.
type Server struct {
	o       Options
	url     *url.URL // nil for InCluster
	running sync.WaitGroup
	limit   time.Duration // for the one in the cluster to be ready
	one     chan struct{} // holds one token while somebody looks whether the one in the cluster runs

	mu   sync.Mutex
	pods map[string]*kube.Client // of kube-pod addresses, by context
}

// Open checks the options; nothing is connected yet. Problem: buildkit-address.
func Open(o Options) (*Server, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	s := &Server{o: o, limit: readyLimit, one: make(chan struct{}, 1), pods: map[string]*kube.Client{}}
	if o.Address == InCluster {
		return s, nil
	}
	u, err := url.Parse(o.Address)
	if err == nil && !known(u.Scheme) {
		err = errors.New("it begins with none of " + strings.Join(schemes, "://, ") + "://")
	}
	if err == nil && u.Scheme == "kube-pod" {
		_, err = kubepod.SpecFromURL(u)
	}
	if err != nil {
		return nil, &problem.Problem{Class: problem.Usage, Code: "buildkit-address", Summary: fmt.Sprintf("%q is no address of BuildKit", o.Address), Err: err,
			Hint: "write it as buildctl does, tcp://HOST:1234 or unix:///run/buildkit/buildkitd.sock, or write cluster: in kdev.yaml under buildkit, or in $BUILDKIT_HOST"}
	}
	s.url = u
	return s, nil
}

func known(scheme string) bool {
	for _, s := range schemes {
		if s == scheme {
			return true
		}
	}
	return false
}

// String is the server as people are told of it: "BuildKit at tcp://builder.corp:1234".
func (s *Server) String() string {
	if s.url == nil {
		return "BuildKit in the cluster"
	}
	return "BuildKit at " + s.o.Address
}

// Close waits until every connection into a pod has ended: the clients that Dial
// returned have to be closed before.
func (s *Server) Close() {
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kc := range s.pods {
		kc.Close()
	}
}

// Dial connects, and returns when BuildKit has answered. The caller closes the client.
//
// Problems: buildkit-missing; for InCluster also those of [Server.start].
func (s *Server) Dial(ctx context.Context) (*client.Client, error) {
	address, opts, err := s.options(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	kit, err := client.New(limited, address, opts...)
	if err != nil {
		return nil, s.missing(ctx, err)
	}
	if _, err := kit.ListWorkers(limited); err != nil {
		kit.Close()
		return nil, s.missing(ctx, err)
	}
	return kit, nil
}

// options are what BuildKit's client needs for the address.
func (s *Server) options(ctx context.Context) (address string, opts []client.ClientOpt, err error) {
	switch {
	case s.url == nil:
		kc, err := s.o.Cluster(ctx)
		if err != nil {
			return "", nil, err
		}
		pod, err := s.start(ctx, kc)
		if err != nil {
			return "", nil, err
		}
		return "", s.into(kc, container{Namespace, pod, daemon}), nil
	case s.url.Scheme == "kube-pod":
		kc, at, err := s.pod()
		if err != nil {
			return "", nil, err
		}
		return "", s.into(kc, at), nil
	case s.url.Scheme == "tcp" && s.o.TLS.wanted():
		t := s.o.TLS
		if t.ServerName == "" {
			t.ServerName = s.url.Hostname()
		}
		if t.CA != "" {
			opts = append(opts, client.WithServerConfig(t.ServerName, t.CA))
		} else {
			opts = append(opts, client.WithServerConfigSystem(t.ServerName))
		}
		if t.Cert != "" {
			opts = append(opts, client.WithCredentials(t.Cert, t.Key))
		}
	}
	return s.o.Address, opts, nil
}

// pod is the container that a kube-pod address names.
func (s *Server) pod() (*kube.Client, container, error) {
	spec, err := kubepod.SpecFromURL(s.url)
	if err != nil {
		return nil, container{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kc := s.pods[spec.Context]
	if kc == nil {
		if kc, err = kube.New("", spec.Context); err != nil {
			return nil, container{}, err
		}
		s.pods[spec.Context] = kc
	}
	at := container{spec.Namespace, spec.Pod, spec.Container}
	at.namespace = cmp.Or(at.namespace, kc.Namespace, "default")
	return kc, at, nil
}

// missing is the problem of a BuildKit that does not answer.
func (s *Server) missing(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if problem.As(err) != nil {
		return err
	}
	hint := "start buildkitd there, or name another address: in kdev.yaml under buildkit, or in $BUILDKIT_HOST, which wins"
	switch {
	case s.url == nil:
		hint = "`kdev buildkit rm` removes it, and the next build starts it anew"
	case s.url.Scheme == "tcp" && s.o.TLS.wanted():
		hint = "are the files under buildkit.tls those for this server? `buildctl --addr " + s.o.Address + " --tlscacert … debug workers` says"
	case s.url.Scheme == "tcp":
		hint += "; if it wants TLS, name the files under buildkit.tls"
	}
	return &problem.Problem{Code: "buildkit-missing", Summary: s.String() + " does not answer", Err: cause(err), Hint: hint}
}

// cause is gRPC's error without what it says of itself.
func cause(err error) error {
	text := err.Error()
	for _, noise := range []string{"failed to list workers: ", "rpc error: code = Unavailable desc = ", "Unavailable: ", "connection error: desc = ", "transport: ", "failed to write client preface: ", "Error while dialing: ", "error reading server preface: ", `\"`, `"`} {
		text = strings.ReplaceAll(text, noise, "")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer within " + answerLimit.String()
	}
	return errors.New(text)
}
