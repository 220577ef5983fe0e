package logs

import (
	"context"
	"errors"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/logs/source"
	"github.com/kdev-io/kdev/logs/store"
)

// Pods are live pods; [kube.Namespace] has them.
type Pods interface {
	Pods() []*corev1.Pod
	// Subscribe gives a coalesced signal of changes and the function that ends it.
	Subscribe() (<-chan struct{}, func())
}

// ContainerType is the list of the pod's spec that a container is in.
type ContainerType int

// The lists, in the order in which containers start.
const (
	InitContainer ContainerType = iota
	AppContainer
	EphemeralContainer
)

// A Selection chooses containers among live pods.
type Selection struct {
	Cluster string // name shown where there are several
	Opener  source.Opener
	Pods    Pods
	// Select chooses containers; nil takes all. A container that was chosen stays so
	// until its pod is gone, whatever becomes of the pod's labels.
	Select func(pod *corev1.Pod, name string, kind ContainerType) bool
	// Existing chooses among the containers that run or ran when the selection
	// begins; nil takes all.
	Existing func(cs *corev1.ContainerStatus) bool
	// While is asked at each change of the pod; a container is read only while it
	// says true. nil always does.
	While func(pod *corev1.Pod) bool
	// Workload names what owns the pod: replicas of one workload get different
	// colours. nil takes the pod's controller.
	Workload func(pod *corev1.Pod) string
	// From says from where containers are read that exist when the selection begins.
	// Those that come later are read from their first line.
	From source.Options
	// Early reads new containers before the API serves their logs; nil waits for it.
	Early *source.Early
	// Once reads what is there and ends; without it the containers are followed.
	Once bool
}

// A tracker keeps the readers of one selection equal to what its pods say.
type tracker struct {
	hub   *Hub
	sel   Selection
	tails map[tailKey]*tail
	// existed are the runs, by ID, of containers that were not chosen when the selection
	// began, and may be later: what a pod belongs to is sometimes known after the pod.
	existed map[tailKey]string
	wait    sync.WaitGroup

	mu     sync.Mutex
	errors []error
}

type tailKey struct {
	pod       types.UID
	container string
}

// A tail is one container that was chosen.
type tail struct {
	reader *source.Reader // nil while the container has no log yet
	stop   context.CancelFunc
	gone   chan struct{} // closed once it is not wanted any more
	old    bool          // existed when the selection began

	ignored   bool // existed in a state that is not wanted
	ignoredID string
}

// drop ends a tail: at once where its pod still exists and is not wanted any more,
// else when it has read what there is.
func (t *tail) drop(exists bool) {
	close(t.gone)
	switch {
	case t.reader == nil:
	case exists:
		t.stop()
	default:
		t.reader.Update(source.State{Gone: true})
	}
}

func newTracker(h *Hub, sel Selection) *tracker {
	if sel.Workload == nil {
		sel.Workload = controller
	}
	return &tracker{hub: h, sel: sel, tails: map[tailKey]*tail{}, existed: map[tailKey]string{}}
}

func (t *tracker) run(ctx context.Context) error {
	defer t.wait.Wait()
	changed, stop := t.sel.Pods.Subscribe()
	defer stop()
	t.reconcile(ctx, true)
	t.hub.saw()
	if t.sel.Once {
		t.wait.Wait()
		return errors.Join(t.errors...)
	}
	for {
		select {
		case <-changed:
			t.reconcile(ctx, false)
		case <-ctx.Done():
			return nil
		}
	}
}

// reconcile starts readers for containers that are wanted and have none, and tells
// the others what their pods say.
func (t *tracker) reconcile(ctx context.Context, first bool) {
	exists, live := map[types.UID]bool{}, map[tailKey]bool{}
	for _, pod := range t.sel.Pods.Pods() {
		exists[pod.UID] = true
		if t.sel.While != nil && !t.sel.While(pod) {
			continue
		}
		EachContainer(pod, func(cs *corev1.ContainerStatus, kind ContainerType) {
			key := tailKey{pod.UID, cs.Name}
			known := t.tails[key]
			if known == nil {
				run := source.StateOf(pod, cs).ID
				if t.sel.Select != nil && !t.sel.Select(pod, cs.Name, kind) {
					if first && run != "" {
						t.existed[key] = run
					}
					return
				}
				known = &tail{old: run != "" && (first || t.existed[key] == run), gone: make(chan struct{})}
				known.ignored = known.old && t.sel.Existing != nil && !t.sel.Existing(cs)
				t.tails[key] = known
			}
			live[key] = true
			t.update(ctx, known, pod, cs)
		})
	}
	for key, known := range t.tails {
		if !live[key] {
			delete(t.tails, key)
			known.drop(exists[key.pod])
		}
	}
}

func (t *tracker) update(ctx context.Context, known *tail, pod *corev1.Pod, cs *corev1.ContainerStatus) {
	state := source.StateOf(pod, cs)
	switch {
	case known.reader != nil:
		known.reader.Update(state)
	case known.ignored:
		// Its run is not wanted; the next one is new.
		if known.ignoredID == "" {
			known.ignoredID = state.ID
		} else if state.ID != known.ignoredID {
			known.ignored, known.old = false, false
			t.start(ctx, known, pod, cs.Name, state)
		}
	case state.ID != "" || t.sel.Early != nil && !t.sel.Once && starts(pod, cs):
		t.start(ctx, known, pod, cs.Name, state)
	}
}

// starts says that a container is on its way to its first run, on a node that is known.
func starts(pod *corev1.Pod, cs *corev1.ContainerStatus) bool {
	return pod.Spec.NodeName != "" && pod.DeletionTimestamp == nil && cs.RestartCount == 0 && cs.State.Waiting != nil
}

func (t *tracker) start(ctx context.Context, known *tail, pod *corev1.Pod, container string, state source.State) {
	h := t.hub
	workload := t.sel.Workload(pod)
	color := h.colors.take(workload, string(pod.UID))
	containerColor := color
	if h.opts.DiffContainer {
		containerColor = h.colors.byName(container)
	}
	src := h.store.AddSource(store.Source{
		Kind: store.Container, Cluster: t.sel.Cluster, Namespace: pod.Namespace, Pod: pod.Name, Container: container,
		Node: pod.Spec.NodeName, PodUID: string(pod.UID), Workload: workload, Labels: pod.Labels, Annos: pod.Annotations,
		Color: color, ContainerColor: containerColor,
	})
	opts := source.Options{New: true}
	if known.old {
		opts = t.sel.From
		opts.New = t.crashed(pod, container)
	}
	opts.Follow, opts.Early = !t.sel.Once, t.sel.Early
	known.reader = source.NewReader(t.sel.Opener, h.store, src, h.gate, state, opts, source.Hooks{
		Lines:  h.prepare,
		Notice: func(n source.Notice) { h.notice(src, n) },
	})
	ctx, stop := context.WithCancel(ctx)
	known.stop = stop
	reader := known.reader
	h.reads(reader, true)
	leave := func() {}
	if t.sel.Once {
		// In the order of the pods and their containers, so that with one request at a
		// time the logs come one after the other.
		var err error
		if leave, err = h.gate.Enter(ctx); err != nil {
			stop()
			h.reads(reader, false)
			return
		}
	}
	t.wait.Go(func() {
		defer stop()
		defer leave()
		if err := reader.Run(ctx); err != nil {
			t.mu.Lock()
			t.errors = append(t.errors, err)
			t.mu.Unlock()
		}
		h.reads(reader, false)
		if t.sel.Once {
			return
		}
		// Its lines stay on the screen beside those of its siblings: the colour is free
		// when the pod is gone, not when this container has nothing more to say.
		select {
		case <-known.gone:
		case <-ctx.Done():
		}
		h.colors.give(workload, string(pod.UID))
	})
}

// crashed says whether the run before the one that a container is in ended badly:
// why is what a person who looks now wants to see first. Where old lines are not
// wanted its are not either.
func (t *tracker) crashed(pod *corev1.Pod, container string) bool {
	from := t.sel.From
	if t.sel.Once || from.Tail != nil && *from.Tail == 0 {
		return false
	}
	crashed := false
	EachContainer(pod, func(cs *corev1.ContainerStatus, _ ContainerType) {
		last := cs.LastTerminationState.Terminated
		if cs.Name == container && cs.State.Running != nil && last != nil {
			crashed = last.ExitCode != 0 && !last.FinishedAt.Time.Before(from.Since)
		}
	})
	return crashed
}

// EachContainer visits the containers of a pod that have a status.
func EachContainer(pod *corev1.Pod, fn func(*corev1.ContainerStatus, ContainerType)) {
	for i := range pod.Status.InitContainerStatuses {
		fn(&pod.Status.InitContainerStatuses[i], InitContainer)
	}
	for i := range pod.Status.ContainerStatuses {
		fn(&pod.Status.ContainerStatuses[i], AppContainer)
	}
	for i := range pod.Status.EphemeralContainerStatuses {
		fn(&pod.Status.EphemeralContainerStatuses[i], EphemeralContainer)
	}
}

// controller names what made the pod. A ReplicaSet counts as its Deployment, whose
// name it has with the hash of the template behind: old and new pods of a rollout
// stand beside each other. Asking the API would cost a request for each.
func controller(pod *corev1.Pod) string {
	for _, o := range pod.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		name := o.Name
		if hash := pod.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			name = strings.TrimSuffix(name, "-"+hash)
		}
		return pod.Namespace + "/" + o.Kind + "/" + name
	}
	return pod.Namespace + "/Pod/" + pod.Name
}
