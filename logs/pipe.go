package logs

import (
	"context"
	"io"

	"github.com/kdev-io/kdev/logs/source"
	"github.com/kdev-io/kdev/logs/store"
)

// Pipe adds the lines of a stream that has no times: standard input. It must come
// before Run, which then ends when the stream does.
func (h *Hub) Pipe(r io.Reader) {
	src := h.store.AddSource(store.Source{Kind: store.Container, Color: store.Uncolored, ContainerColor: store.Uncolored})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = append(h.pending, pipe{h, r, src})
	h.piped = true
}

// A pipe is the work of one such stream.
type pipe struct {
	hub *Hub
	r   io.Reader
	src *store.Source
}

// run reads until the stream ends. A read of standard input cannot be interrupted:
// when ctx is done it is left behind, and ends with the stream or the process.
func (p pipe) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		done <- source.ReadPlain(ctx, p.hub.store, p.src, p.r, source.Hooks{Lines: p.hub.prepare})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}
