//go:build unix

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/store"
)

const (
	stored   = 100_000
	rate     = 10_000 // lines a second
	services = 100
	replicas = 3
)

// A load is a project of a hundred services whose pods never stop talking.
type load struct {
	store *store.Store
	apps  []*store.Appender
	lines int

	mu      sync.Mutex
	state   *session.State
	changed chan struct{}
}

func newLoad() *load {
	l := &load{store: store.New(logs.DefaultStoreBytes), changed: make(chan struct{}, 1)}
	l.state = project(0)
	for _, svc := range l.state.Services {
		src := store.Source{Namespace: "shop", Pod: svc.Pods[0].Name, Container: "app", Color: len(l.apps) % 8}
		l.apps = append(l.apps, l.store.Appender(l.store.AddSource(src)))
	}
	return l
}

// project is the state at a step; one service after the other has a change.
func project(step int) *session.State {
	began := time.Now().Add(-time.Hour)
	st := &session.State{Project: "shop", Namespace: "shop", Context: "kind-kdev", Started: began, Session: true, Deployed: true, Ready: true}
	for i := range services {
		name := fmt.Sprintf("service-%03d", i)
		svc := session.Service{Name: name, Kind: session.Built, Phase: session.Ready, Desired: replicas, Updated: replicas, Current: replicas,
			Image: "localhost:5001/shop/" + name + ":dev@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
		if i == step%services {
			saved := time.Now()
			svc.Change = &session.Change{Action: session.ActSync, Outcome: session.Served, Paths: []string{name + "/main.py"},
				Saved: saved, Batched: saved.Add(4 * time.Millisecond), Made: saved.Add(8 * time.Millisecond), Acknowledged: saved.Add(11 * time.Millisecond), Serving: saved.Add(12 * time.Millisecond)}
		}
		for j := range replicas {
			svc.Pods = append(svc.Pods, session.Pod{Name: fmt.Sprintf("%s-7d9f6b5c4-%05d", name, j), Ready: true, Status: "Running",
				Stages: []session.PodStage{{Name: "scheduled", Done: true}, {Name: "pulled", Done: true}, {Name: "started", Done: true}, {Name: "ready", Done: true}}})
		}
		st.Services = append(st.Services, svc)
	}
	return st
}

func (l *load) State() *session.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *load) Subscribe() (<-chan struct{}, func()) { return l.changed, func() {} }

func (l *load) set(st *session.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = st
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// fill writes lines, one pod after the other.
func (l *load) fill(n int) {
	for range n {
		app := l.apps[l.lines%len(l.apps)]
		text := line(l.lines)
		size := copy(app.Free(len(text)+1), text)
		app.Grow(size)
		app.Add(store.Line{Time: time.Now().UnixNano()}, 0, size)
		app.Consume(size)
		app.CommitNow()
		l.lines++
	}
}

// line is what programs write: objects of JSON, plain text, now and then an error.
func line(n int) string {
	switch {
	case n%500 == 0:
		return fmt.Sprintf("ERROR cannot reach the database: connection refused (attempt %d)", n)
	case n%3 == 0:
		return fmt.Sprintf(`{"time":"2026-01-02T09:30:00.137Z","level":"info","msg":"request","method":"GET","path":"/item/%d","status":200,"ms":%d,"user":"u-%d"}`, n, 3+n%40, n%1000)
	}
	return fmt.Sprintf("2026-01-02 09:30:00.137 INFO  [worker-%d] handled job %d in %d ms, %d left in the queue, nothing to complain about", n%16, n, n%90, n%300)
}

// feed writes at the rate until ctx is done, and changes the state five times a
// second.
func (l *load) feed(ctx context.Context) {
	const turn = 10 * time.Millisecond
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	start, first := time.Now(), l.lines
	for step := 0; ; step++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.fill(int(time.Since(start).Seconds()*rate) - (l.lines - first))
		if step%20 == 0 {
			l.set(project(step / 20))
		}
	}
}
