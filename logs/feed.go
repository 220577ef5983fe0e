package logs

import (
	"context"

	"github.com/kdev-io/kdev/logs/store"
)

// Feed adds lines that something else reads: kept ones, from disk. read calls add
// for each line until there are no more or add fails. It must come before Run, which
// then ends when read has.
func (h *Hub) Feed(read func(add func(src *store.Source, l store.Line, msg []byte) error) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = append(h.pending, feed{h, read})
}

type feed struct {
	hub  *Hub
	read func(add func(*store.Source, store.Line, []byte) error) error
}

func (f feed) run(ctx context.Context) error {
	// A container's lines are one source again, however many files they are in.
	type name struct{ cluster, namespace, pod, container, local string }
	apps := map[name]*store.Appender{}
	defer func() {
		for _, app := range apps {
			app.Close()
		}
	}()
	h := f.hub
	err := f.read(func(src *store.Source, l store.Line, msg []byte) error {
		key := name{src.Cluster, src.Namespace, src.Pod, src.Container, src.Name}
		app := apps[key]
		if app == nil {
			fresh := *src
			group, member := src.Workload, src.PodUID
			if src.Kind != store.Container {
				group, member = src.Name, src.Name
			}
			fresh.Color = h.colors.take(group, member)
			fresh.ContainerColor = fresh.Color
			app = h.store.Appender(h.store.AddSource(fresh))
			apps[key] = app
		}
		n := copy(app.Free(len(msg)+1), msg)
		app.Grow(n)
		app.Add(l, 0, n)
		app.Consume(n)
		lines, data := app.Added()
		h.prepare(lines, data)
		return app.Commit(ctx)
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}
