package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// Connect lets the nodes pull from the registry and tells the cluster's other
// users about it: the registry joins the nodes' network, each node's
// containerd learns where Host is, and the ConfigMap of KEP-1755 is written.
// nodes are names of containers on the engine. Nothing is restarted; calling it
// again changes nothing.
func (e *Endpoint) Connect(ctx context.Context, docker *client.Client, nodes []string, configMaps typedcorev1.ConfigMapsGetter) error {
	if len(nodes) == 0 {
		return errors.New("connect the image registry: no nodes")
	}
	err := e.reach(ctx, docker, nodes, func(node string) error {
		if err := e.write(ctx, docker, node, e.Host, e.hostsTOML()); err != nil {
			return err
		}
		return e.mirror(ctx, docker, node)
	})
	if err != nil || configMaps == nil {
		return err
	}
	return e.advertise(ctx, configMaps)
}

// Accompany lets the nodes of a cluster to which somebody else has given a registry pull
// images of others through this one. That registry stays what it is, and keeps its name:
// very often it is called as Host is.
func (e *Endpoint) Accompany(ctx context.Context, docker *client.Client, nodes []string) error {
	if len(nodes) == 0 {
		return errors.New("connect the image registry: no nodes")
	}
	return e.reach(ctx, docker, nodes, func(node string) error { return e.mirror(ctx, docker, node) })
}

// reach joins the nodes' network and tells each of them.
func (e *Endpoint) reach(ctx context.Context, docker *client.Client, nodes []string, tell func(node string) error) error {
	if err := e.join(ctx, docker, nodes[0]); err != nil {
		return explain(ctx, err)
	}
	var wg sync.WaitGroup
	failed := make([]error, len(nodes))
	for i, node := range nodes {
		wg.Go(func() { failed[i] = tell(node) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

// join attaches the registry to every network that the node is on. All nodes
// of a cluster share them.
func (e *Endpoint) join(ctx context.Context, docker *client.Client, node string) error {
	r, err := docker.ContainerInspect(ctx, node, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("inspect node %s: %w", node, err)
	}
	if r.Container.NetworkSettings == nil {
		return nil
	}
	for name := range r.Container.NetworkSettings.Networks {
		// The default networks have no name service.
		if name == "bridge" || name == "host" || name == "none" {
			continue
		}
		if err := attach(ctx, docker, e.Container, name); err != nil {
			return err
		}
	}
	return nil
}

// ours marks a hosts.toml that kdev may replace.
const ours = "# Written by kdev."

// hostsTOML is read by containerd at each pull (docs/hosts.md there): the
// server line keeps it from trying Host itself, which on the node is nobody.
func (e *Endpoint) hostsTOML() string {
	return fmt.Sprintf(`%s %s is the image store of the machine that runs this node.
server = "http://%s:%d"

[host."http://%s:%d"]
  capabilities = ["pull", "resolve"]
`, ours, e.Host, e.Container, clusterPort.Num(), e.Container, clusterPort.Num())
}

// script writes $2 to $1 unless it is there; 3 means that somebody else's file is.
const script = `if [ -f "$1" ]; then
  head -n 1 "$1" | grep -q '^# Written by kdev' || exit 3
  [ "$(cat "$1")" = "$2" ] && exit 0
fi
mkdir -p "${1%/*}" && printf '%s\n' "$2" > "$1.kdev" && mv "$1.kdev" "$1"`

// mirror lets a node ask this registry first for whatever it pulls.
func (e *Endpoint) mirror(ctx context.Context, docker *client.Client, node string) error {
	err := e.write(ctx, docker, node, "_default", e.mirrorTOML())
	if p := problem.As(err); p != nil && p.Code == "registry-host-taken" {
		return nil // the node has a mirror of its own for everything: it is as good
	}
	return err
}

// write puts the hosts.toml of one host on a node, unless it is there.
func (e *Endpoint) write(ctx context.Context, docker *client.Client, node, host, content string) error {
	path := "/etc/containerd/certs.d/" + host + "/hosts.toml"
	output, code, err := execIn(ctx, docker, node, []string{"sh", "-c", script, "sh", path, strings.TrimSuffix(content, "\n")})
	if err != nil {
		return explain(ctx, fmt.Errorf("configure node %s: %w", node, err))
	}
	switch code {
	case 0:
		return nil
	case 3:
		return &problem.Problem{
			Code: "registry-host-taken", Where: node + ":" + path,
			Summary: "the node already has another registry under the name " + e.Host,
			Hint:    "give kdev's store another name: docker rm -f " + e.Container + ", then start something on its port and run kdev again; or remove that file from the node",
		}
	default:
		return &problem.Problem{
			Code: "node-refused", Where: node, Summary: fmt.Sprintf("the node's registry configuration could not be written (exit code %d)", code),
			Output: output, Hint: "see whether the node is healthy: docker exec " + node + " true",
		}
	}
}

// execIn runs a command in a container and returns its combined output and exit code.
func execIn(ctx context.Context, docker *client.Client, name string, cmd []string) (string, int, error) {
	created, err := docker.ExecCreate(ctx, name, client.ExecCreateOptions{AttachStdout: true, AttachStderr: true, Cmd: cmd})
	if err != nil {
		return "", 0, err
	}
	stream, err := docker.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return "", 0, err
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close)
	defer stop()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, stream.Reader); err != nil && !errors.Is(err, io.EOF) {
		if ctx.Err() != nil {
			return "", 0, ctx.Err()
		}
		return "", 0, err
	}
	r, err := docker.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return "", 0, err
	}
	return out.String(), r.ExitCode, nil
}

// Names of KEP-1755, "Communicating a local registry".
const (
	hostingNamespace = "kube-public"
	hostingName      = "local-registry-hosting"
	hostingKey       = "localRegistryHosting.v1"
)

// Hosting is the document of KEP-1755, version 1.
type Hosting struct {
	Host                     string `json:"host,omitempty"`                     // where a client outside of the cluster pushes
	HostFromContainerRuntime string `json:"hostFromContainerRuntime,omitempty"` // what goes into pod specs; default Host
	HostFromClusterNetwork   string `json:"hostFromClusterNetwork,omitempty"`   // for pods
	Help                     string `json:"help,omitempty"`
}

const help = "https://github.com/kdev-io/kdev/blob/main/docs/registry.md"

// ReadHosting returns what the cluster says about its registry, or nil.
func ReadHosting(ctx context.Context, configMaps typedcorev1.ConfigMapsGetter) (*Hosting, error) {
	cm, err := configMaps.ConfigMaps(hostingNamespace).Get(ctx, hostingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s/%s: %w", hostingNamespace, hostingName, err)
	}
	return parseHosting(cm)
}

func parseHosting(cm *corev1.ConfigMap) (*Hosting, error) {
	text, ok := cm.Data[hostingKey]
	if !ok {
		return nil, nil
	}
	var h Hosting
	if err := yaml.Unmarshal([]byte(text), &h); err != nil {
		return nil, &problem.Problem{
			Code: "registry-hosting-invalid", Where: "ConfigMap " + hostingNamespace + "/" + hostingName, Summary: hostingKey + " is not what KEP-1755 says", Err: err,
			Hint: "correct it, or delete the ConfigMap: kdev writes it again. Until then kdev's own registry serves the cluster, and others are not told of it",
		}
	}
	return &h, nil
}

// Foreign says whether somebody else than kdev gave the registry to the cluster.
func (h *Hosting) Foreign() bool { return h.Host != "" && h.Help != help }

// Runtime is the registry's name in pod specs.
func (h *Hosting) Runtime() string {
	if h.HostFromContainerRuntime != "" {
		return h.HostFromContainerRuntime
	}
	return h.Host
}

// registryPatience is how long a registry may take to answer: one on this machine is there at
// once or refuses at once, but the machine may be busy.
const registryPatience = 2 * time.Second

// Scheme asks the registry at h.Host how it is spoken with, "http" or "https". It is "" where
// none answers: it may be long gone, since the ConfigMap is only as fresh as who wrote it.
func (h *Hosting) Scheme(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, registryPatience)
	defer cancel()
	hc := newHTTP()
	defer hc.CloseIdleConnections()
	for _, scheme := range []string{"http", "https"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+h.Host+"/v2/", nil)
		if err != nil {
			return ""
		}
		resp, err := hc.Do(req)
		var unknown *tls.CertificateVerificationError
		if errors.As(err, &unknown) {
			return scheme // it is there; pushing says what is wrong with its certificate
		}
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusUnauthorized {
			return scheme
		}
	}
	return ""
}

// Silent is the problem that a registry of somebody else does not answer.
func (h *Hosting) Silent() *problem.Problem {
	return &problem.Problem{
		Code: "registry-hosting-silent", Where: "ConfigMap " + hostingNamespace + "/" + hostingName, Summary: "the cluster's registry " + h.Host + " does not answer: kdev's own is used for now",
		Hint: "start it again (`docker ps -a` shows it), and the next `kdev up` uses it; or, if it is gone for good, delete the ConfigMap: kdev writes it again",
	}
}

// advertise writes the ConfigMap, unless somebody else wrote it: a registry that is down for
// a moment would lose it, and nothing would bring it back. Only other tools read it, so that
// nothing fails for who may not write it.
func (e *Endpoint) advertise(ctx context.Context, configMaps typedcorev1.ConfigMapsGetter) error {
	_, port, _ := strings.Cut(e.PushHost, ":")
	want := Hosting{
		Host: "localhost:" + port, HostFromContainerRuntime: e.Host,
		HostFromClusterNetwork: fmt.Sprintf("%s:%d", e.Container, clusterPort.Num()), Help: help,
	}
	text, err := yaml.Marshal(want)
	if err != nil {
		return err
	}
	client := configMaps.ConfigMaps(hostingNamespace)
	cm, err := client.Get(ctx, hostingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: hostingName, Namespace: hostingNamespace}, Data: map[string]string{hostingKey: string(text)}}
		_, err = client.Create(ctx, cm, metav1.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
	}
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tell the cluster about the image registry: %w", err)
	}
	have, err := parseHosting(cm)
	if err != nil {
		return nil //nolint:nilerr // somebody's mistake is theirs to mend; who read it before told it
	}
	if have != nil && (*have == want || have.Help != help) {
		return nil
	}
	cm = cm.DeepCopy()
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[hostingKey] = string(text)
	if _, err := client.Update(ctx, cm, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsForbidden(err) {
		return fmt.Errorf("tell the cluster about the image registry: %w", err)
	}
	return nil
}
