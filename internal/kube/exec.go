package kube

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// Exec runs cmd in a container and returns when it has ended. A command that
// ran and failed gives an [ExitError]. stdin, stdout and stderr may be nil. When
// ctx ends, the stream is cut; a Read of stdin that is under way then can only
// be ended by whoever owns stdin.
func (c *Client) Exec(ctx context.Context, namespace, pod, container string, cmd []string, stdin io.Reader, stdout, stderr io.Writer) error {
	return c.exec(ctx, namespace, pod, container, cmd, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: stderr})
}

// ExecTerminal is Exec with a terminal in the container, where stderr comes out
// of stdout. size returns the terminal's size when it is asked first and then each
// time it changed, and false when there is nothing more to come.
func (c *Client) ExecTerminal(ctx context.Context, namespace, pod, container string, cmd []string, stdin io.Reader, stdout io.Writer, size func() (width, height uint16, ok bool)) error {
	return c.exec(ctx, namespace, pod, container, cmd, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Tty: true, TerminalSizeQueue: sizes(size)})
}

// sizes is the queue of client-go, as a function.
type sizes func() (width, height uint16, ok bool)

func (s sizes) Next() *remotecommand.TerminalSize {
	width, height, ok := s()
	if !ok {
		return nil
	}
	return &remotecommand.TerminalSize{Width: width, Height: height}
}

func (c *Client) exec(ctx context.Context, namespace, pod, container string, cmd []string, streams remotecommand.StreamOptions) error {
	target := c.podRequest(namespace, pod, "exec").VersionedParams(&corev1.PodExecOptions{
		Container: container,
		Command:   cmd,
		Stdin:     streams.Stdin != nil,
		Stdout:    streams.Stdout != nil,
		Stderr:    streams.Stderr != nil,
		TTY:       streams.Tty,
	}, scheme.ParameterCodec).URL()
	spdy, err := remotecommand.NewSPDYExecutor(c.Config, "POST", target)
	if err != nil {
		return fmt.Errorf("exec in %s/%s: %w", namespace, pod, err)
	}
	// GET, because a WebSocket handshake must be one (RFC 6455 4.1).
	webSocket, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", target.String())
	if err != nil {
		return fmt.Errorf("exec in %s/%s: %w", namespace, pod, err)
	}
	executor, err := remotecommand.NewFallbackExecutor(webSocket, spdy, wantsSPDY)
	if err != nil {
		return fmt.Errorf("exec in %s/%s: %w", namespace, pod, err)
	}
	err = executor.StreamWithContext(ctx, streams)
	var code exec.CodeExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code):
		return &ExitError{Command: cmd, Code: code.Code}
	default:
		return fmt.Errorf("exec in %s/%s (%s): %w", namespace, pod, container, err)
	}
}

// An ExitError says that a command ran in the container and failed.
type ExitError struct {
	Command []string
	Code    int
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%q ended with exit code %d", e.Command, e.Code)
}

// wantsSPDY says whether to try SPDY after a WebSocket failed: older API
// servers and some proxies refuse the upgrade.
func wantsSPDY(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// podRequest addresses a subresource of a pod.
func (c *Client) podRequest(namespace, pod, subresource string) *rest.Request {
	return c.Core.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource(subresource)
}
