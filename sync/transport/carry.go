package transport

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"syscall"

	"k8s.io/client-go/rest"
)

// Carry returns a Dialer for containers whose image has no agent: it puts one into
// a directory that the container's user can write to, by exec and tar, once in the
// life of the container, and talks to it from then on. Such an agent runs no
// application, so nothing can be restarted.
//
// program returns the agent for the machine that the pod runs on.
func Carry(cfg *rest.Config, program func(ctx context.Context, namespace, pod string) ([]byte, error)) Dialer {
	return &carrier{exec: &execDialer{cfg: cfg}, program: program, agents: map[string]string{}}
}

type carrier struct {
	exec    *execDialer
	program func(ctx context.Context, namespace, pod string) ([]byte, error)

	mu     sync.Mutex
	agents map[string]string // namespace/pod/container: the agent's path
}

// carryTo are tried one after the other: usual places that are writable and not
// mounted noexec.
var carryTo = []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/"}

func (c *carrier) Dial(ctx context.Context, namespace, pod, container string) (io.ReadWriteCloser, error) {
	at := place{c.exec, namespace, pod, container}
	key := namespace + "/" + pod + "/" + container
	c.mu.Lock()
	agent := c.agents[key]
	c.mu.Unlock()
	if agent == "" {
		var err error
		if agent, err = c.settle(ctx, at); err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.agents[key] = agent
		c.mu.Unlock()
	}
	forget := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.agents, key)
	}
	stream, err := at.run(ctx, agent, "serve")
	if err != nil {
		if Missing(err) {
			forget()
		}
		return nil, err
	}
	return &carried{stream, forget}, nil
}

// carried forgets where the agent was when it turns out to be gone: a container
// that was started again has the root of its image.
type carried struct {
	io.ReadWriteCloser
	forget func()
}

func (c *carried) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	if Missing(err) {
		c.forget()
	}
	return n, err
}

// settle finds an agent in the container, or puts one there.
func (c *carrier) settle(ctx context.Context, at place) (string, error) {
	// The API accepts an exec before the runtime has looked for the program; only
	// the end of one says whether it is there.
	err := at.wait(ctx, nil, command[0], "version")
	if err == nil {
		return command[0], nil
	}
	if !Missing(err) {
		return "", err
	}
	agent, err := c.program(ctx, at.namespace, at.pod)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(agent)
	name := ".kdev-" + hex.EncodeToString(sum[:6]) + "/agent"
	for _, dir := range carryTo {
		file := path.Join(dir, name)
		if at.wait(ctx, nil, file, "version") == nil {
			return file, nil // of a session before
		}
		archive, err := tarOf(name, agent)
		if err != nil {
			return "", err
		}
		if err = at.wait(ctx, archive, "tar", "-x", "-m", "-f", "-", "-C", dir); Missing(err) && strings.Contains(err.Error(), "tar") {
			return "", fmt.Errorf("%w: the container has neither an agent nor tar", ErrNoAgent)
		}
		if err == nil && at.wait(ctx, nil, file, "version") == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%w: there is no place for one in the container", ErrNoAgent)
}

// A place is a container.
type place struct {
	exec                      *execDialer
	namespace, pod, container string
}

func (p place) run(ctx context.Context, command ...string) (io.ReadWriteCloser, error) {
	return p.exec.exec(ctx, p.namespace, p.pod, p.container, command)
}

// wait runs a command to its end.
func (p place) wait(ctx context.Context, stdin io.WriterTo, command ...string) error {
	s, err := p.run(ctx, command...)
	if err != nil {
		return err
	}
	defer s.Close()
	if stdin != nil {
		_, _ = stdin.WriteTo(s) // what went wrong is the command's end
	}
	if half, ok := s.(*stream); ok {
		_ = half.CloseWrite()
	}
	_, err = io.Copy(io.Discard, s)
	return err
}

func tarOf(name string, program []byte) (io.WriterTo, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: path.Dir(name) + "/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	return &b, w.Close()
}

// ErrNoAgent is the cause when a container has no agent and can get none.
var ErrNoAgent = errors.New("no agent in the container")

// Missing says whether an exec failed because the container does not have the
// program. The runtimes have no code for that, only words.
func Missing(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, ErrNoAgent) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "no such file or directory") || strings.Contains(text, "executable file not found") || strings.Contains(text, "not found in $PATH")
}

// Down says whether an exec failed because the container does not run just now. That
// too the kubelet and the runtimes say in words.
func Down(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	for _, says := range []string{
		"container not found (",                                                             // the kubelet, of a pod that has it
		"is in CONTAINER_EXITED state", "no running task found", "cannot exec in a stopped", // containerd and runc
		"container is not created or running", // CRI-O
	} {
		if strings.Contains(text, says) {
			return true
		}
	}
	return false
}

// Away says whether nobody listens where the API server should be: it is being started
// again.
func Away(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
