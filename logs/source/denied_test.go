package source

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/logs/store"
)

// restarting is an API server that cuts its streams by a restart, and refuses
// everything until it has read its roles.
type restarting struct {
	mu     sync.Mutex
	opened int
	lines  []string // of the log, as the kubelet writes them
}

func (o *restarting) Open(ctx context.Context, _, _ string, _ *corev1.PodLogOptions) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened++
	switch o.opened {
	case 1:
		return io.NopCloser(strings.NewReader(o.lines[0])), nil
	case 2, 3:
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods/log"}, "web", nil)
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(strings.Join(o.lines, "")), r), r}, nil
}

func TestAnAPIServerThatHasJustStartedIsNotBelieved(t *testing.T) {
	opener := &restarting{lines: []string{"2026-11-21T04:00:00.000000000Z line 0\n", "2026-11-21T04:00:01.000000000Z line 1\n"}}
	st := store.New(1 << 20)
	cur := st.Cursor(true)
	defer cur.Close()
	src := st.AddSource(store.Source{Namespace: "default", Pod: "web", Container: "app"})
	r := NewReader(opener, st, src, NewGate(0), State{ID: "c-0", Running: true}, Options{Follow: true}, Hooks{Notice: func(n Notice) {
		if n.Kind == Denied {
			t.Error("given up:", n.Err)
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	var got []string
	for len(got) < 2 {
		segs, _ := cur.Next()
		for i := range segs {
			for _, l := range segs[i].Lines {
				got = append(got, string(segs[i].Text(l)))
			}
		}
		if len(segs) == 0 {
			<-cur.Changed()
		}
	}
	if want := []string{"line 0", "line 1"}; !slices.Equal(got, want) {
		t.Errorf("read %q", got)
	}
}
