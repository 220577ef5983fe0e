package kube

import (
	"context"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// besideRetry is how long the API server is left alone that did not answer.
const besideRetry = 2 * time.Second

// besideNamespace is another namespace that is kept along with one.
type besideNamespace struct {
	known chan struct{} // closed when one of the others is set for good
	live  *Namespace
	err   error
}

// Beside is another namespace, which is kept for as long as n is and whose changes n tells
// too. The first call begins to watch it. Until its first lists are there both results are
// nil, and a change signal comes when they are; the error is that RBAC forbids to read it.
func (n *Namespace) Beside(c *Client, namespace string) (*Namespace, error) {
	b := n.besideOf(c, namespace)
	if b == nil {
		return nil, nil
	}
	select {
	case <-b.known:
		return b.live, b.err
	default:
		return nil, nil
	}
}

// AwaitBeside returns when Beside has an answer.
func (n *Namespace) AwaitBeside(ctx context.Context, c *Client, namespace string) error {
	b := n.besideOf(c, namespace)
	if b == nil {
		return nil
	}
	select {
	case <-b.known:
	case <-n.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// besideOf begins to watch a namespace that is not watched yet; nil where nothing is
// watched any more.
func (n *Namespace) besideOf(c *Client, namespace string) *besideNamespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.beside[namespace]; b != nil || n.watching.Err() != nil {
		return b
	}
	if n.beside == nil {
		n.beside = map[string]*besideNamespace{}
	}
	b := &besideNamespace{known: make(chan struct{})}
	n.beside[namespace] = b
	n.followers.Go(func() {
		b.watch(c, namespace, n)
		if b.live != nil {
			b.live.Wait()
		}
	})
	return b
}

// watch tries until the namespace can be watched or is forbidden.
func (b *besideNamespace) watch(c *Client, namespace string, n *Namespace) {
	for n.watching.Err() == nil {
		live, err := start(n.watching, c, namespace, n)
		p := problem.As(err)
		if err == nil || p != nil && p.Code == "rbac-denied" {
			b.live, b.err = live, err
			close(b.known)
			n.signal()
			return
		}
		select {
		case <-time.After(besideRetry):
		case <-n.watching.Done():
		}
	}
}
