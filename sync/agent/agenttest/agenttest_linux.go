// Package agenttest runs real agents as processes of this machine, for tests: a
// "container" is a run with its application, and dialling it is a serve.
package agenttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent"
)

const modeVar, socketVar, limitsVar = "KDEV_TEST_AGENT", "KDEV_TEST_SOCKET", "KDEV_TEST_LIMITS"

// Main makes the test binary its own agent. Call it first in TestMain.
func Main() {
	opts := agent.Options{Version: "test", Socket: os.Getenv(socketVar)}
	_ = json.Unmarshal([]byte(os.Getenv(limitsVar)), &opts.Limits)
	switch os.Getenv(modeVar) {
	case "run":
		os.Unsetenv(modeVar)
		os.Exit(agent.Run(os.Args[1:], opts))
	case "serve":
		os.Exit(agent.Serve(opts))
	case "carry":
		os.Exit(agent.Carry(os.Args[1:], opts))
	}
}

var number atomic.Int64

// A Container is a run and its application.
type Container struct {
	t      testing.TB
	Socket string
	Cmd    *exec.Cmd
	Output *Buffer
	ended  chan struct{}
	code   int
	cpu    time.Duration

	mu     sync.Mutex
	gone   bool // its agent has ended: no exec gets in any more
	serves []*exec.Cmd
}

// Start runs argv under an agent. It is killed at the test's end.
func Start(t testing.TB, argv ...string) *Container {
	t.Helper()
	return StartLimited(t, agent.Limits{}, argv...)
}

// StartLimited is Start with bounds of its own.
func StartLimited(t testing.TB, limits agent.Limits, argv ...string) *Container {
	t.Helper()
	c := &Container{t: t, Socket: fmt.Sprintf("kdev-test-%d-%d.", os.Getpid(), number.Add(1)), Output: &Buffer{}, ended: make(chan struct{})}
	c.Cmd = c.command("run", argv...)
	l, err := json.Marshal(limits)
	if err != nil {
		t.Fatal(err)
	}
	c.Cmd.Env = append(c.Cmd.Env, limitsVar+"="+string(l))
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Cmd.Stdout, c.Cmd.Stderr = in, in
	if err := c.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(c.Output, out)
		out.Close()
	}()
	go func() {
		defer close(c.ended)
		state, err := c.Cmd.Process.Wait()
		c.mu.Lock()
		c.gone = true
		c.mu.Unlock()
		if c.code = -1; err == nil {
			c.code, c.cpu = state.ExitCode(), state.UserTime()+state.SystemTime()
		}
		// A container's end takes everything with it. A process that is just
		// becoming another program shows no environment, so once is not enough.
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for {
			killAll(c.Socket)
			select {
			case <-copied:
				return
			case <-again.C:
			}
		}
	}()
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("the container said:\n%s", c.Output)
		}
	})
	c.awaitSocket()
	return c
}

// Alone is a container whose application no agent runs: one can only be dialled.
func Alone(t testing.TB) *Container {
	return &Container{t: t, Socket: fmt.Sprintf("kdev-test-%d-%d.", os.Getpid(), number.Add(1)), Output: &Buffer{}}
}

// awaitSocket waits until the agent listens or has ended: serve, which knows a
// run by its name among the processes, would not find a test's.
func (c *Container) awaitSocket() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		sockets, err := os.ReadFile("/proc/net/unix")
		if err != nil || strings.Contains(string(sockets), "@"+c.Socket+"\n") {
			return
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return
		}
	}
}

func (c *Container) command(mode string, argv ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(exe, argv...)
	cmd.Env = append(os.Environ(), modeVar+"="+mode, socketVar+"="+c.Socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Signal signals the agent, as a kubelet does.
func (c *Container) Signal(sig syscall.Signal) { c.Cmd.Process.Signal(sig) }

// Wait waits for the container's end and returns its exit code.
func (c *Container) Wait() int {
	<-c.ended
	return c.code
}

// Ended is closed when the container has ended.
func (c *Container) Ended() <-chan struct{} { return c.ended }

// CPU is what the agent and what it waited for have used, when the container has
// ended.
func (c *Container) CPU() time.Duration { return c.cpu }

// Kill ends the container and what it started.
func (c *Container) Kill() {
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.Cmd.Process.Kill()
	<-c.ended
}

// killAll ends all processes of a container, which have its name in their
// environment.
func killAll(socket string) {
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range dir {
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !strings.Contains(string(env), socketVar+"="+socket+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Dial runs a serve, as an exec does.
func (c *Container) Dial() (io.ReadWriteCloser, error) { return c.exec("serve") }

// Carry runs a carry of ports.
func (c *Container) Carry(ports ...string) (io.ReadWriteCloser, error) {
	return c.exec("carry", ports...)
}

func (c *Container) exec(mode string, args ...string) (io.ReadWriteCloser, error) {
	cmd := c.command(mode, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = c.Output
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, errors.New("container not found")
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.serves = append(c.serves, cmd)
	return &stream{in, out, cmd, sync.Once{}}, nil
}

// Cut kills all serves: a network that is gone.
func (c *Container) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range c.serves {
		cmd.Process.Kill()
	}
	c.serves = nil
}

type stream struct {
	io.WriteCloser
	io.Reader
	cmd  *exec.Cmd
	once sync.Once
}

func (s *stream) Close() error {
	s.once.Do(func() {
		s.WriteCloser.Close()
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	return nil
}

// A Cluster dials containers by the name of their pod.
type Cluster struct {
	mu    sync.Mutex
	Pods  map[string]*Container
	Dials atomic.Int64
}

// Set puts a container behind a pod's name; nil takes it away.
func (c *Cluster) Set(pod string, to *Container) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Pods == nil {
		c.Pods = map[string]*Container{}
	}
	c.Pods[pod] = to
}

// Dial implements transport.Dialer.
func (c *Cluster) Dial(_ context.Context, _, pod, _ string) (io.ReadWriteCloser, error) {
	c.Dials.Add(1)
	c.mu.Lock()
	to := c.Pods[pod]
	c.mu.Unlock()
	if to == nil {
		return nil, fmt.Errorf("container not found (%q)", pod)
	}
	return to.Dial()
}

// A Buffer collects output and lets tests wait for it.
type Buffer struct {
	mu   sync.Mutex
	b    strings.Builder
	more chan struct{}
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p)
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return len(p), nil
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Await waits until the output holds n times text, or ctx ends.
func (b *Buffer) Await(ctx context.Context, text string, n int) error {
	for {
		b.mu.Lock()
		if strings.Count(b.b.String(), text) >= n {
			b.mu.Unlock()
			return nil
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q in %q: %w", text, b.String(), ctx.Err())
		}
	}
}

// descendants lists the processes below pid.
func descendants(pid int) []int {
	children := map[int][]int{}
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range dir {
		data, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		var self, parent int
		var state string
		line := string(data)
		fmt.Sscan(e.Name(), &self)
		fmt.Sscan(line[strings.LastIndexByte(line, ')')+1:], &state, &parent)
		children[parent] = append(children[parent], self)
	}
	var all []int
	for queue := []int{pid}; len(queue) > 0; {
		next := children[queue[0]]
		queue = append(queue[1:], next...)
		all = append(all, next...)
	}
	return all
}

// Descendants lists the processes that the container consists of.
func (c *Container) Descendants() []int { return descendants(c.Cmd.Process.Pid) }
