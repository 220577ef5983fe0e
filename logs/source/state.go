package source

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// State is what the pod's status says of one container.
type State struct {
	ID       string // of the container whose log the kubelet serves; "" when there is none yet
	Restarts int32
	Running  bool
	Gone     bool // the pod was deleted, or this container is not wanted any more
	Final    bool // it will not be started again
	Started  time.Time
}

// StateOf reads a container's state from its pod. The choice of the ID follows the
// kubelet's own for serving a log (validateContainerLogStatus in
// pkg/kubelet/kubelet_pods.go): running, else terminated, else last terminated.
func StateOf(pod *corev1.Pod, cs *corev1.ContainerStatus) State {
	s := State{Restarts: cs.RestartCount}
	switch {
	case cs.State.Running != nil:
		s.Running = true
		s.ID = cs.ContainerID
		s.Started = cs.State.Running.StartedAt.Time
	case cs.State.Terminated != nil:
		s.ID = cs.State.Terminated.ContainerID
		s.Started = cs.State.Terminated.StartedAt.Time
	}
	if last := cs.LastTerminationState.Terminated; s.ID == "" && last != nil {
		s.ID = last.ContainerID
		s.Started = last.StartedAt.Time
	}
	if !s.Running {
		s.Final = pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	}
	return s
}

// stateBox hands the newest state from the tracker to the reader.
type stateBox struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed at the next change
}

func newStateBox(s State) *stateBox { return &stateBox{state: s, changed: make(chan struct{})} }

func (b *stateBox) set(s State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Started.Equal(b.state.Started) {
		s.Started = b.state.Started // or == would see a difference of clocks
	}
	if s == b.state {
		return
	}
	b.state = s
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *stateBox) get() (State, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.changed
}
