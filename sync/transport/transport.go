package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// A Dialer opens a stream to the agent in a container. The returned stream is
// the caller's to close. How a command failed that ended at once is the error of
// Dial or of the first Read, whichever comes to know it first.
type Dialer interface {
	Dial(ctx context.Context, namespace, pod, container string) (io.ReadWriteCloser, error)
}

// Exec returns a Dialer that runs the agent's serve by exec: through a WebSocket,
// or where the API server or a proxy refuses that, through SPDY. What worked is
// remembered, so that only the first stream pays for the refusal.
func Exec(cfg *rest.Config) Dialer { return Command(cfg, command...) }

// Command is Exec with another command in serve's place.
func Command(cfg *rest.Config, command ...string) Dialer {
	return &execDialer{cfg: cfg, command: command}
}

// command is what is run in the container.
var command = []string{"/.kdev/agent", "serve"}

type execDialer struct {
	cfg     *rest.Config
	command []string
	spdy    atomic.Bool // WebSocket was refused
}

// openLimit bounds the time from the request to a stream, so that a request that
// a broken network has swallowed does not hold up the next one.
const openLimit = 10 * time.Second

// closeLimit is how long a command may take to leave.
const closeLimit = 300 * time.Millisecond

func (d *execDialer) Dial(ctx context.Context, namespace, pod, container string) (io.ReadWriteCloser, error) {
	return d.exec(ctx, namespace, pod, container, d.command)
}

// exec runs a command and returns its stdin and stdout.
func (d *execDialer) exec(ctx context.Context, namespace, pod, container string, command []string) (io.ReadWriteCloser, error) {
	client, err := d.client()
	if err != nil {
		return nil, err
	}
	request := client.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	if !d.spdy.Load() {
		// GET, because a WebSocket handshake must be one (RFC 6455 4.1).
		executor, err := remotecommand.NewWebSocketExecutor(d.cfg, http.MethodGet, request.URL().String())
		if err != nil {
			return nil, err
		}
		stream, err := open(ctx, executor)
		if err == nil || !refused(err) {
			return stream, err
		}
	}
	executor, err := remotecommand.NewSPDYExecutor(d.cfg, http.MethodPost, request.URL())
	if err != nil {
		return nil, err
	}
	stream, err := open(ctx, executor)
	if err == nil {
		d.spdy.Store(true)
	}
	return stream, err
}

func (d *execDialer) client() (*rest.RESTClient, error) {
	cfg := rest.CopyConfig(d.cfg)
	cfg.GroupVersion = &corev1.SchemeGroupVersion
	cfg.APIPath = "/api"
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	cfg.QPS = -1
	return rest.RESTClientFor(cfg)
}

// refused says that SPDY may do better.
func refused(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// open starts the exec and waits until the stream is there: the executor reads
// stdin as soon as it is, which is the one sign that it gives.
func open(dialing context.Context, executor remotecommand.Executor) (io.ReadWriteCloser, error) {
	// The stream outlives the dialling. The executor logs every copy that ends
	// when a stream does; what there is to say comes back as the stream's error.
	ctx, cancel := context.WithCancel(klog.NewContext(context.WithoutCancel(dialing), klog.Logger{}))
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s := &stream{in: inW, out: outR, cancel: cancel, done: make(chan struct{})}
	stdin := &firstRead{Reader: inR, first: make(chan struct{})}
	go func() {
		defer close(s.done)
		err := executor.StreamWithContext(&bounded{ctx, time.Now().Add(openLimit)}, remotecommand.StreamOptions{Stdin: stdin, Stdout: outW, Stderr: &s.stderr})
		s.err = s.explain(err)
		outW.CloseWithError(s.err)
		inR.CloseWithError(s.err)
	}()
	limit := time.NewTimer(openLimit)
	defer limit.Stop()
	var err error
	select {
	case <-stdin.first:
		return s, nil
	case <-s.done:
		// A short command may have ended before anything was read from stdin; that
		// it did well is told by Read, as it is when it took longer.
		if s.err == io.EOF {
			return s, nil
		}
		err = s.err
	case <-dialing.Done():
		err = dialing.Err()
	case <-limit.C:
		err = fmt.Errorf("no stream within %s", openLimit)
	}
	// Not Close: a handshake cannot be interrupted. It ends at its deadline, and
	// what comes of it after that with the context.
	cancel()
	inW.Close()
	outR.CloseWithError(io.ErrClosedPipe)
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// bounded is a context with a deadline that never comes: the WebSocket dialler
// takes it for the connection's deadline until the handshake is over, and a real
// one would end the stream as well.
type bounded struct {
	context.Context
	deadline time.Time
}

func (b *bounded) Deadline() (time.Time, bool) { return b.deadline, true }

// A firstRead closes first when it is read.
type firstRead struct {
	io.Reader
	first chan struct{}
	once  sync.Once
}

func (f *firstRead) Read(b []byte) (int, error) {
	f.once.Do(func() { close(f.first) })
	return f.Reader.Read(b)
}

// A stream is an exec whose stdin is written and whose stdout is read.
type stream struct {
	in     *io.PipeWriter
	out    *io.PipeReader
	begun  bool // something was read
	stderr tail
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed
}

// Read reads stdout. Where dockerd runs the containers that holds why a command could not
// be started: such an error is no output.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.out.Read(b)
	if !s.begun && n > 0 {
		s.begun = true
		if bytes.HasPrefix(b[:n], []byte(notStarted)) {
			return 0, errors.New(string(bytes.TrimSpace(b[:min(n, tailSize)])))
		}
	}
	return n, err
}

const notStarted = "OCI runtime exec failed: "

func (s *stream) Write(b []byte) (int, error) { return s.in.Write(b) }

// CloseWrite ends the command's stdin.
func (s *stream) CloseWrite() error { return s.in.Close() }

// Close ends the exec and waits for it: first by ending its stdin, so that the
// command can leave by itself.
func (s *stream) Close() error {
	s.in.Close()
	s.out.CloseWithError(io.ErrClosedPipe)
	leave := time.NewTimer(closeLimit)
	defer leave.Stop()
	select {
	case <-s.done:
	case <-leave.C:
	}
	s.cancel()
	<-s.done
	return nil
}

// explain adds what the command said to why it ended.
func (s *stream) explain(err error) error {
	said := s.stderr.String()
	switch {
	case err == nil && said == "":
		return io.EOF
	case err == nil:
		return errors.New(said)
	case said == "":
		return err
	}
	return fmt.Errorf("%w: %s", err, said)
}

// A tail keeps the end of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := len(t.b)
	for end > 0 && (t.b[end-1] == '\n' || t.b[end-1] == '\r') {
		end--
	}
	return string(t.b[:end])
}
