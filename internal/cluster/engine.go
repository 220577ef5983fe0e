package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// A provider is the tool that made a cluster of containers.
type provider string

const (
	kind     provider = "kind"
	k3d      provider = "k3d"
	minikube provider = "minikube"
)

// labels by which each tool marks its containers: the cluster's name, and the
// container's role in it.
var labels = []struct {
	provider      provider
	cluster, role string
}{
	{kind, "io.x-k8s.kind.cluster", "io.x-k8s.kind.role"},
	{k3d, "k3d.cluster", "k3d.role"},
	{minikube, "name.minikube.sigs.k8s.io", "role.minikube.sigs.k8s.io"},
}

func (p provider) context(cluster string) string {
	if p == minikube {
		return cluster
	}
	return string(p) + "-" + cluster
}

// An engine is the container engine that holds the nodes. The interface is what
// this package asks of its command line, so that tests can answer instead.
type engine interface {
	cli() string
	nodes(ctx context.Context) ([]node, error)               // running and stopped ones
	addresses(ctx context.Context, n node) ([]string, error) // of the container in the engine's networks
	info(ctx context.Context) (info, error)
	start(ctx context.Context, names []string) error
	stop(ctx context.Context, names []string) error
	remove(ctx context.Context, names []string) error
	exec(ctx context.Context, name string, cmd ...string) ([]byte, error)
	images(ctx context.Context, repository string) ([]string, error) // tags
	hasImage(ctx context.Context, ref string) bool
	pull(ctx context.Context, ref string) error
	capabilities(ctx context.Context, image string) (uint64, error) // bounding set of a privileged container
}

// A node is a container of a local cluster: one that runs a kubelet, or the load
// balancer in front of several control planes.
type node struct {
	name      string
	role      string
	provider  provider
	cluster   string
	running   bool
	published []string // host:port pairs through which the engine reaches into it
}

func (n node) state() string {
	if n.running {
		return "running"
	}
	return "stopped"
}

// kubelets leaves out load balancers and registries.
func kubelets(nodes []node) []node {
	var out []node
	for _, n := range nodes {
		switch n.role {
		case "external-load-balancer", "loadbalancer", "registry":
		default:
			out = append(out, n)
		}
	}
	return out
}

func names(nodes []node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.name
	}
	slices.Sort(out)
	return out
}

// info is what the engine says of itself.
type info struct {
	CgroupVersion   string
	DefaultRuntime  string
	OperatingSystem string
	Name            string
}

// commandLine is an engine reached by its own client, which is what kind does:
// contexts, remote hosts and rootless set-ups are then seen alike by both.
type commandLine struct {
	name string
}

// findEngine returns the engine that kind would use: KIND_EXPERIMENTAL_PROVIDER,
// else the first that answers.
//
// Problems: engine-missing.
func findEngine(ctx context.Context) (engine, error) {
	candidates := []string{"docker", "nerdctl", "podman"}
	if wanted := os.Getenv("KIND_EXPERIMENTAL_PROVIDER"); wanted != "" {
		if !slices.Contains([]string{"docker", "podman", "nerdctl", "finch", "nerdctl.lima"}, wanted) {
			return nil, &problem.Problem{Class: problem.Usage, Code: "engine-missing", Where: "KIND_EXPERIMENTAL_PROVIDER",
				Summary: fmt.Sprintf("unknown container engine %q", wanted),
				Hint:    "unset it, or set it to docker, podman or nerdctl"}
		}
		candidates = []string{wanted}
	}
	var failures []error
	for _, name := range candidates {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		e := &commandLine{name}
		if _, err := e.run(ctx, "ps", "-q"); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			failures = append(failures, err)
			continue
		}
		return e, nil
	}
	return nil, noEngine(candidates, failures)
}

func noEngine(candidates []string, failures []error) error {
	p := &problem.Problem{Code: "engine-missing", Summary: "no container engine is installed",
		Hint: "install one: `apt-get install docker.io` on Debian and Ubuntu, Docker Desktop or Podman elsewhere"}
	if len(candidates) == 1 {
		p.Summary = fmt.Sprintf("%s, named by KIND_EXPERIMENTAL_PROVIDER, is not installed", candidates[0])
	}
	if len(failures) == 0 {
		return p
	}
	p.Err = failures[0]
	p.Summary = "the container engine does not answer"
	p.Hint = "start it: `systemctl start docker`, `dockerd`, or the Docker Desktop application"
	var failed *commandError
	if errors.As(p.Err, &failed) {
		if strings.Contains(failed.stderr, "\n") { // else the error says it
			p.Output = failed.stderr
		}
		switch {
		case strings.Contains(failed.stderr, "permission denied"):
			p.Summary = "this user may not use the container engine"
			p.Hint = "add the user to the docker group (`usermod -aG docker $USER`, then log in again)"
		case os.Getenv("DOCKER_HOST") != "" && failed.cli == "docker":
			p.Where = "DOCKER_HOST=" + os.Getenv("DOCKER_HOST")
			p.Hint = "start the engine there, or unset DOCKER_HOST for the one of this machine"
		}
	}
	return p
}

func (e *commandLine) cli() string { return e.name }

func (e *commandLine) nodes(ctx context.Context) ([]node, error) {
	columns := []string{"{{.Names}}", "{{.Status}}", "{{.Ports}}"}
	for _, l := range labels {
		for _, key := range []string{l.cluster, l.role} {
			if e.name == "podman" {
				columns = append(columns, fmt.Sprintf("{{index .Labels %q}}", key))
			} else {
				columns = append(columns, fmt.Sprintf("{{.Label %q}}", key))
			}
		}
	}
	out, err := e.run(ctx, "ps", "-a", "--no-trunc", "--format", strings.Join(columns, "\t"))
	if err != nil {
		return nil, err
	}
	nodes := parseNodes(string(out))
	for i := range nodes {
		if nodes[i].running {
			continue
		}
		// A stopped container publishes nothing, but will again what it was made with.
		out, err := e.run(ctx, "inspect", "--format", "{{json .HostConfig.PortBindings}}", nodes[i].name)
		if err == nil {
			nodes[i].published = parseBindings(out)
		}
	}
	return nodes, nil
}

func (e *commandLine) addresses(ctx context.Context, n node) ([]string, error) {
	out, err := e.run(ctx, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}", n.name)
	return strings.Fields(string(out)), err
}

func (e *commandLine) info(ctx context.Context) (info, error) {
	out, err := e.run(ctx, "info", "--format", "{{json .}}")
	if err != nil {
		return info{}, err
	}
	if e.name == "podman" {
		// podman nests what docker has at the top.
		var p struct {
			Host struct {
				CgroupVersion string `json:"cgroupVersion"`
				Hostname      string `json:"hostname"`
				OCIRuntime    struct {
					Name string `json:"name"`
				} `json:"ociRuntime"`
			} `json:"host"`
		}
		err := json.Unmarshal(out, &p)
		return info{CgroupVersion: strings.TrimPrefix(p.Host.CgroupVersion, "v"), DefaultRuntime: p.Host.OCIRuntime.Name, Name: p.Host.Hostname}, err
	}
	var i info
	err = json.Unmarshal(out, &i)
	return i, err
}

func (e *commandLine) start(ctx context.Context, names []string) error {
	_, err := e.run(ctx, append([]string{"start"}, names...)...)
	return err
}

func (e *commandLine) stop(ctx context.Context, names []string) error {
	_, err := e.run(ctx, append([]string{"stop"}, names...)...)
	return err
}

func (e *commandLine) exec(ctx context.Context, name string, cmd ...string) ([]byte, error) {
	return e.run(ctx, append([]string{"exec", name}, cmd...)...)
}

func (e *commandLine) images(ctx context.Context, repository string) ([]string, error) {
	out, err := e.run(ctx, "images", "--format", "{{.Tag}}", repository)
	return strings.Fields(string(out)), err
}

func (e *commandLine) hasImage(ctx context.Context, ref string) bool {
	_, err := e.run(ctx, "inspect", "--type=image", ref)
	return err == nil
}

func (e *commandLine) pull(ctx context.Context, ref string) error {
	_, err := e.run(ctx, "pull", ref)
	return err
}

func (e *commandLine) capabilities(ctx context.Context, image string) (uint64, error) {
	out, err := e.run(ctx, "run", "--rm", "--privileged", "--network=none", "--entrypoint", "grep", image, "CapBnd", "/proc/self/status")
	if err != nil {
		return 0, err
	}
	return parseCapabilities(string(out))
}

// run returns what the command printed; a failure carries its stderr.
func (e *commandLine) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, e.name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &commandError{cli: e.name, args: args, stderr: strings.TrimSpace(stderr.String()), err: err}
	}
	return stdout.Bytes(), nil
}

// A commandError is a failed command of the engine with what it said.
type commandError struct {
	cli    string
	args   []string
	stderr string
	err    error
}

func (e *commandError) Error() string {
	said := e.stderr
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		said = said[i+1:]
	}
	if said == "" {
		said = e.err.Error()
	}
	return fmt.Sprintf("%s %s: %s", e.cli, e.args[0], said)
}

func (e *commandError) Unwrap() error { return e.err }
