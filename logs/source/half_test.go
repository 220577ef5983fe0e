package source

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/store"
)

// A container that ended in the middle of a line: that is a line like the others, and
// the last of those that a tail counts.
func TestUnendedLine(t *testing.T) {
	server, opener := fake(t)
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	lines := []string{"one", "two", "three", "the half"}
	for _, c := range []struct {
		name string
		tail *int64
		want []string
	}{
		{"all", nil, lines},
		{"none", new(int64(0)), nil},
		{"one", new(int64(1)), lines[3:]},
		{"two", new(int64(2)), lines[2:]},
		{"more than there are", new(int64(9)), lines},
	} {
		for _, final := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s final=%v", c.name, final), func(t *testing.T) {
				pod := fmt.Sprintf("half-%v-%d", final, len(c.want)+10*len(c.name))
				if err := server.Put(testkube.Pod("default", pod)); err != nil {
					t.Fatal(err)
				}
				log := server.Log("default", pod, "app")
				for i, text := range lines {
					log.Append(testkube.Entry{Time: at.Add(time.Duration(i) * time.Millisecond), Text: text, Unended: i == len(lines)-1})
				}
				log.End()
				st := store.New(1 << 20)
				src := st.AddSource(store.Source{Namespace: "default", Pod: pod, Container: "app"})
				state := State{ID: "c-0", Final: final}
				r := NewReader(opener, st, src, NewGate(0), state, Options{Follow: true, Tail: c.tail}, Hooks{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan struct{})
				go func() { defer close(ended); _ = r.Run(ctx) }()
				for !final {
					// One that may run again is not left: what it has is known when its
					// reader rests.
					if r.resting.Load() {
						cancel()
						break
					}
					time.Sleep(time.Millisecond)
				}
				<-ended
				var got []string
				st.Range(0, 1<<40, func(g *store.Segment) bool {
					for _, l := range g.Lines {
						got = append(got, string(g.Text(l)))
					}
					return true
				})
				if !slices.Equal(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		}
	}
}

// A kubelet that has no log of the run before says so in its place, which is shown.
func TestKubeletWithoutTheRunBefore(t *testing.T) {
	server, opener := fake(t)
	if err := server.Put(testkube.Pod("default", "crashed")); err != nil {
		t.Fatal(err)
	}
	const said = "unable to retrieve container logs for containerd://2b57"
	log := server.Log("default", "crashed", "app")
	log.Restart()
	log.Faults(func(int) testkube.Fault { return testkube.Fault{Text: said} })
	st := store.New(1 << 20)
	src := st.AddSource(store.Source{Namespace: "default", Pod: "crashed", Container: "app"})
	r := NewReader(opener, st, src, NewGate(0), State{ID: "c-1", Restarts: 1, Running: true}, Options{Previous: true}, Hooks{})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	st.Range(0, 1<<40, func(g *store.Segment) bool {
		for _, l := range g.Lines {
			got = append(got, string(g.Text(l)))
		}
		return true
	})
	if len(got) != 1 || got[0] != said {
		t.Errorf("%q", got)
	}
}
