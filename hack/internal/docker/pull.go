package docker

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/hack/internal/step"
)

// answerWithin is how long a registry may take to say that it has an image. One that cannot be reached says so at once.
const answerWithin = 10 * time.Second

// A Puller pulls images, and asks a registry that did not answer only once.
type Puller struct {
	mu   sync.Mutex
	away map[string]string // registry -> what was said
}

// Pull gets ref, or says why it cannot be had.
func (p *Puller) Pull(ctx context.Context, ref string) error {
	registry := registryOf(ref)
	p.mu.Lock()
	said, away := p.away[registry]
	p.mu.Unlock()
	if away {
		return fmt.Errorf("pulling %s: %s", ref, said)
	}
	err := pull(ctx, ref)
	if err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "manifest unknown") && !strings.Contains(err.Error(), "not found") {
		p.mu.Lock()
		if p.away == nil {
			p.away = map[string]string{}
		}
		p.away[registry] = err.Error()
		p.mu.Unlock()
	}
	return err
}

// pull runs docker pull. Its first line of output means that the registry answered: from then on it may take its time.
func pull(ctx context.Context, ref string) error {
	var complaints bytes.Buffer
	answered := make(chan struct{})
	cmd := exec.CommandContext(ctx, "docker", "pull", ref)
	cmd.SysProcAttr = step.Child(false)
	cmd.Stderr = &complaints
	cmd.Stdout = &once{tell: answered}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("pulling %s: %w", ref, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	limit := time.NewTimer(answerWithin)
	defer limit.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("pulling %s: %s", ref, lastLine(complaints.String()))
			}
			return nil
		case <-answered:
			answered = nil
			limit.Stop()
		case <-limit.C:
			_ = cmd.Process.Kill()
			<-done
			return fmt.Errorf("pulling %s: no answer within %s", ref, answerWithin)
		}
	}
}

// once closes tell at the first "Pulling from".
type once struct {
	tell chan struct{}
	said bool
}

func (o *once) Write(p []byte) (int, error) {
	if !o.said && bytes.Contains(p, []byte("Pulling")) {
		o.said = true
		close(o.tell)
	}
	return len(p), nil
}

// registryOf is the host part of a reference: a first element with a dot or a colon in it, else Docker Hub.
func registryOf(ref string) string {
	first, _, more := strings.Cut(ref, "/")
	if more && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first
	}
	return "docker.io"
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
