package mirror

import (
	"context"
)

// Restart starts the application anew in every connected container of a service,
// after whatever is on its way there, and says how many these are. It does not
// wait: an event Started follows for each.
func (m *Mirror) Restart(ctx context.Context, name string) (int, error) {
	n := 0
	for _, w := range m.workers(name) {
		w.m.mu.Lock()
		connected := w.status.Connected
		w.m.mu.Unlock()
		if !connected {
			continue
		}
		err := w.ask(ctx, func(context.Context, *conversation) (told, fatal error) {
			w.owed.add(&Hook{Restart: true})
			w.m.mu.Lock()
			w.all = true // what is owed goes with a batch, even with an empty one
			w.m.mu.Unlock()
			w.poke()
			return nil, nil
		})
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
