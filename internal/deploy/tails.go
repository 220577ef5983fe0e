package deploy

import (
	"context"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/kube"
)

const (
	tailLines = 5
	tailBytes = 8 << 10
	tailLimit = 5 * time.Second // of one fetch
	tailCache = 256             // runs
)

// tails fetches the last lines of runs that failed, each once, beside whoever
// asks: Status answers at once, and again when the lines are there.
type tails struct {
	fetch func(ctx context.Context, pod *corev1.Pod, container string, previous bool) []string
	ctx   context.Context // ends with close; the fetches belong to the Deployer and to no call
	end   context.CancelFunc

	mu   sync.Mutex
	runs map[run][]string // nil while it is fetched
	wg   sync.WaitGroup
}

// A run is one start of a container.
type run struct {
	pod       types.UID
	container string
	id        string
}

// of returns the last lines of a run, nil while they are not known yet.
func (t *tails) of(live *kube.Namespace, pod *corev1.Pod, container string, previous bool) []string {
	key := run{pod.UID, container, runID(pod, container, previous)}
	t.mu.Lock()
	defer t.mu.Unlock()
	lines, known := t.runs[key]
	if known || key.id == "" || t.ctx.Err() != nil {
		return lines
	}
	if t.runs == nil || len(t.runs) >= tailCache {
		t.runs = map[run][]string{}
	}
	t.runs[key] = nil
	t.wg.Go(func() {
		lines := t.fetch(t.ctx, pod, container, previous)
		t.mu.Lock()
		t.runs[key] = lines
		t.mu.Unlock()
		if len(lines) > 0 {
			live.Poke()
		}
	})
	return nil
}

func runID(pod *corev1.Pod, container string, previous bool) string {
	for _, r := range runs(pod) {
		switch {
		case r.Name != container:
		case !previous && r.State.Terminated != nil:
			return r.State.Terminated.ContainerID
		case !previous:
			return r.ContainerID
		case r.LastTerminationState.Terminated != nil:
			return r.LastTerminationState.Terminated.ContainerID
		}
	}
	return ""
}

// Settle waits for the lines of logs that Status asked for, so that who looks only
// once has them the next time.
func (d *Deployer) Settle() { d.tails.wg.Wait() }

// close ends the fetches and waits for them. Under the lock, so that none begins
// after the wait has.
func (t *tails) close() {
	t.mu.Lock()
	t.end()
	t.mu.Unlock()
	t.wg.Wait()
}

// fetchTail asks the kubelet.
func fetchTail(ctx context.Context, client *kube.Client, pod *corev1.Pod, container string, previous bool) []string {
	ctx, cancel := context.WithTimeout(ctx, tailLimit)
	defer cancel()
	lines, limit := int64(tailLines), int64(tailBytes)
	stream, err := client.Core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &lines, LimitBytes: &limit}).Stream(ctx)
	if err != nil {
		return nil // the lines are an extra: the cause stands without them
	}
	defer stream.Close()
	text, _ := io.ReadAll(io.LimitReader(stream, tailBytes))
	if len(text) == 0 {
		return nil
	}
	out := tailOf(string(text), tailLines)
	for i := range out {
		out[i] = oneLine(out[i], 160)
	}
	return out
}
