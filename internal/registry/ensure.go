package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/embedded"
	"github.com/kdev-io/kdev/internal/problem"
)

// Name is the registry's container where nothing else has that name.
const Name = "kdev-registry"

// Labels of the container. They, not a file, say what runs: the engine keeps them.
const (
	labelStore  = "dev.kdev.registry.store"  // folder that it serves
	labelConfig = "dev.kdev.registry.config" // hash of all that it was made from
	labelHost   = "dev.kdev.registry.host"   // Endpoint.Host
	labelPort   = "dev.kdev.registry.port"   // published on 127.0.0.1
	labelShared = "dev.kdev.registry.shared" // "true": bind mount of the store
)

// Ports inside of the container; see cmd/kdev-registry.
var (
	clusterPort = network.MustParsePort("5000/tcp")
	hostPort    = network.MustParsePort("5001/tcp")
)

// Ensure makes the store reachable: a container that serves it on 127.0.0.1
// and on the network of kind's nodes, and that comes back with the engine. It
// is safe to call at any time, from several processes; progress gets a line
// for what takes time.
//
// Whatever state it finds (stopped, of an older kdev, its folder deleted, its
// port taken by somebody else), it ends with a registry whose every path was
// tried, or with a problem.
//
// leave are hosts of registries that others run and that are down now: a new
// container does not take their ports, or they could not come back.
func Ensure(ctx context.Context, docker *client.Client, s *Store, progress func(string), leave ...string) (*Endpoint, error) {
	if progress == nil {
		progress = func(string) {}
	}
	unlock, err := s.Lock(ctx, "ensure")
	if err != nil {
		return nil, err
	}
	defer unlock()
	e := &ensurer{docker: docker, store: s, progress: progress, leave: leave}
	ep, err := e.run(ctx)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return ep, nil
}

type ensurer struct {
	docker   *client.Client
	store    *Store
	progress func(string)
	leave    []string // hosts whose ports are others'

	name    string // the container's
	arch    string
	program string // ID of the program that belongs to this kdev
	token   string
	user    string
	userns  string // "host" where the engine would map users otherwise
	shared  bool
	known   remembered
}

// remembered is what survives the container: names that pods and people have.
type remembered struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

func (e *ensurer) run(ctx context.Context) (*Endpoint, error) {
	if err := e.prepare(ctx); err != nil {
		return nil, err
	}
	c, err := e.find(ctx)
	if err != nil {
		return nil, err
	}
	if c != nil {
		if ep := e.revive(ctx, c); ep != nil {
			return ep, e.attach(ctx, "kind")
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	var last error
	for _, shared := range []bool{true, false} {
		e.shared = shared
		ep, err := e.create(ctx)
		if err == nil {
			return ep, e.attach(ctx, "kind")
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if p := problem.As(err); p != nil && p.Code == "store-full" {
			return nil, err // the engine's own disk is no way out
		}
		last = err
	}
	return nil, last
}

// prepare learns what decides how the container is to be.
func (e *ensurer) prepare(ctx context.Context) error {
	version, err := e.docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return err
	}
	e.arch = version.Arch
	if e.program, err = embedded.ID(ctx, "kdev-registry", e.arch); err != nil {
		return err
	}
	if e.token, err = e.store.Token(); err != nil {
		return err
	}
	e.known = e.store.remembered()
	e.shared = true
	info, err := e.docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return err
	}
	// What is pushed must belong to the user, who deletes it later. In a
	// rootless engine, root is the user.
	rootless := false
	for _, o := range info.Info.SecurityOptions {
		rootless = rootless || strings.Contains(o, "name=rootless")
		if strings.Contains(o, "name=userns") {
			e.userns = "host"
		}
	}
	if runtime.GOOS == "linux" && !rootless {
		e.user = fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	}
	return nil
}

// find returns the store's container, or nil, and settles its name: another
// user's registry on the same engine, or one of another folder, has the plain name.
func (e *ensurer) find(ctx context.Context) (*container.InspectResponse, error) {
	h := sha256.Sum256([]byte(e.store.Dir()))
	own := Name + "-" + hex.EncodeToString(h[:4])
	names := []string{own}
	if dir, err := DefaultDir(); err == nil && dir == e.store.Dir() {
		names = []string{Name, own}
	}
	for _, name := range names {
		e.name = name
		r, err := e.docker.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if r.Container.Config != nil && r.Container.Config.Labels[labelStore] == e.store.Dir() {
			return &r.Container, nil
		}
	}
	return nil, &problem.Problem{
		Code: "registry-name-taken", Summary: fmt.Sprintf("a container %s exists that kdev did not make", e.name),
		Hint: "remove or rename it: docker rename " + e.name + " other",
	}
}

// revive makes the existing container work, with a start or a restart at
// most, or returns nil: it has to be made again.
func (e *ensurer) revive(ctx context.Context, c *container.InspectResponse) *Endpoint {
	labels := c.Config.Labels
	e.shared = labels[labelShared] == "true"
	port, err := netip.ParseAddrPort("127.0.0.1:" + labels[labelPort])
	if err != nil {
		return nil
	}
	// The container outlives the folder: its names go on.
	e.known = remembered{Host: labels[labelHost], Port: port.Port()}
	if labels[labelConfig] != e.config() {
		return nil
	}
	if c.State != nil && c.State.Running && !c.State.Paused {
		ep := e.endpoint(port.Port())
		if e.probe(ctx, ep) == nil {
			return ep
		}
	}
	// Stopped, hanging, or its mount is of a folder that was deleted since: a
	// start looks the folder up again.
	e.progress("starting the image registry")
	timeout := 1
	if _, err := e.docker.ContainerRestart(ctx, e.name, client.ContainerRestartOptions{Timeout: &timeout}); err != nil {
		return nil
	}
	ep := e.endpoint(port.Port())
	if e.probe(ctx, ep) != nil {
		return nil
	}
	return ep
}

// config hashes everything that the container is made from but its port.
func (e *ensurer) config() string {
	h := sha256.New()
	for _, part := range []string{"2", e.image(), e.store.Dir(), e.token, e.user, e.userns, fmt.Sprint(e.shared)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func (e *ensurer) image() string { return "kdev.dev/registry:" + e.program }

func (e *ensurer) endpoint(port uint16) *Endpoint {
	return &Endpoint{
		Host: e.known.Host, PushHost: fmt.Sprintf("127.0.0.1:%d", port), Token: e.token,
		Shared: e.shared, Container: e.name, http: newHTTP(),
	}
}

// create replaces the container by a new one that works.
func (e *ensurer) create(ctx context.Context) (*Endpoint, error) {
	if err := e.remove(ctx); err != nil {
		return nil, err
	}
	if err := e.load(ctx); err != nil {
		return nil, err
	}
	e.progress("creating the image registry")
	port, err := e.start(ctx)
	if err != nil {
		return nil, err
	}
	if e.known.Host == "" {
		e.known.Host = fmt.Sprintf("localhost:%d", port)
	}
	e.known.Port = port
	ep := e.endpoint(port)
	if err := e.probe(ctx, ep); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(e.known)
	if err != nil {
		return nil, err
	}
	return ep, e.store.PutMeta("registry", "endpoint", raw)
}

// start creates and starts the container on the first port that is free,
// beginning with the one that it had.
func (e *ensurer) start(ctx context.Context) (uint16, error) {
	var last error
	for _, port := range e.ports() {
		host := e.known.Host
		if host == "" {
			host = fmt.Sprintf("localhost:%d", port)
		}
		spec := e.spec(port, host)
		if _, err := e.docker.ContainerCreate(ctx, spec); err != nil {
			return 0, err
		}
		_, err := e.docker.ContainerStart(ctx, e.name, client.ContainerStartOptions{})
		if err == nil {
			return port, nil
		}
		if !portTaken(err) {
			return 0, err
		}
		last = err
		if err := e.remove(ctx); err != nil {
			return 0, err
		}
	}
	return 0, &problem.Problem{
		Code: "registry-no-port", Summary: "no port between 5001 and 5100 is free on 127.0.0.1 for the image registry", Err: last,
		Hint: "stop what listens there: ss -ltnp",
	}
}

func (e *ensurer) ports() []uint16 {
	var ports []uint16
	if e.known.Port != 0 {
		ports = append(ports, e.known.Port)
	}
	for p := uint16(5001); p <= 5100; p++ {
		others := slices.ContainsFunc(e.leave, func(host string) bool { return strings.HasSuffix(host, fmt.Sprintf(":%d", p)) })
		if p != e.known.Port && !others {
			ports = append(ports, p)
		}
	}
	return freeFirst(ports)
}

func (e *ensurer) spec(port uint16, host string) client.ContainerCreateOptions {
	m := mount.Mount{Type: mount.TypeBind, Source: e.store.Dir(), Target: "/store"}
	if !e.shared {
		m = mount.Mount{Type: mount.TypeVolume, Source: e.name, Target: "/store"}
	}
	hostConfig := &container.HostConfig{
		Mounts: []mount.Mount{m},
		PortBindings: network.PortMap{
			hostPort: {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: fmt.Sprint(port)}},
		},
		// Not "unless-stopped": an engine that was killed stops what it finds
		// running when it starts again, and then takes that for somebody's wish.
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyAlways},
		ReadonlyRootfs: true,
		CapDrop:        []string{"ALL"},
		// label=disable: SELinux would hide the user's folder from a container.
		SecurityOpt: []string{"no-new-privileges", "label=disable"},
	}
	config := &container.Config{
		Image:        e.image(),
		Env:          []string{"KDEV_REGISTRY_TOKEN=" + e.token},
		ExposedPorts: network.PortSet{hostPort: {}, clusterPort: {}},
		Labels: map[string]string{
			labelStore: e.store.Dir(), labelConfig: e.config(), labelHost: host,
			labelPort: fmt.Sprint(port), labelShared: fmt.Sprint(e.shared),
		},
	}
	if e.shared {
		config.User = e.user
		// With the user namespace of the engine, the user's folder would
		// belong to nobody.
		hostConfig.UsernsMode = container.UsernsMode(e.userns)
	}
	return client.ContainerCreateOptions{Name: e.name, Config: config, HostConfig: hostConfig}
}

func (e *ensurer) remove(ctx context.Context) error {
	_, err := e.docker.ContainerRemove(ctx, e.name, client.ContainerRemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove the old image registry: %w", err)
	}
	return nil
}

// attach puts the registry on a network of nodes, if that network is there;
// Connect does it for clusters that come later.
func (e *ensurer) attach(ctx context.Context, networkName string) error {
	return attach(ctx, e.docker, e.name, networkName)
}

func attach(ctx context.Context, docker *client.Client, name, networkName string) error {
	r, err := docker.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("connect the image registry to network %s: %w", networkName, err)
	}
	if r.Container.NetworkSettings != nil {
		if _, ok := r.Container.NetworkSettings.Networks[networkName]; ok {
			return nil
		}
	}
	_, err = docker.NetworkConnect(ctx, networkName, client.NetworkConnectOptions{
		Container: name, EndpointConfig: &network.EndpointSettings{Aliases: []string{name}},
	})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("connect the image registry to network %s: %w", networkName, err)
}

// explain turns the engine's errors into what a person can act on.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil || problem.As(err) != nil {
		return err
	}
	if client.IsErrConnectionFailed(err) {
		return &problem.Problem{
			Code: "engine-missing", Summary: "no Docker engine answers", Err: err,
			Hint: "start Docker, or set DOCKER_HOST to the engine's address",
		}
	}
	return &problem.Problem{
		Code: "registry-failed", Summary: "the image registry could not be started", Err: err,
		Hint: "see `docker logs " + Name + "`; `docker rm -f " + Name + "` is safe, kdev makes it again",
	}
}
