package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/kube"
)

const (
	// usageEvery is how often a kubelet looks at its containers; asking more often
	// gives the same figures.
	usageEvery = 10 * time.Second
	// usageAgain is when a cluster that did not say is asked again. Until then the
	// agents are.
	usageAgain = time.Minute
	// mostAsked is how many agents are asked at once.
	mostAsked = 4
)

// usageRead is what the containers took when the cluster was last asked.
type usageRead struct {
	of map[kube.UsageKey]kube.Usage
}

func (e usageRead) apply(l *loop) { l.usage = e.of }

// measure reads what the containers take, until ctx is done: the cluster says it, or
// where it does not, the agents do. Where neither does, no figures are shown.
func (s *Session) measure(ctx context.Context) {
	var last map[kube.UsageKey]kube.Usage
	var refused time.Time // when the cluster did not say
	agents := meter{ask: s.askUsage}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(usageEvery)
		st := s.State()
		nodes := nodesOf(st)
		if len(nodes) == 0 {
			timer.Reset(time.Second)
			continue
		}
		asking, cancel := context.WithTimeout(ctx, usageEvery)
		var usage map[kube.UsageKey]kube.Usage
		if refused.IsZero() || time.Since(refused) >= usageAgain {
			refused = time.Time{}
			var err error
			if usage, err = s.parts.Kube.Usage(asking, s.opts.Project.Namespace, nodes); err != nil {
				usage, refused = nil, time.Now()
			}
		}
		if !refused.IsZero() {
			usage = agents.read(asking, withAgent(st))
		}
		cancel()
		if !maps.Equal(usage, last) {
			last = usage
			s.post(ctx, usageRead{usage})
		}
	}
}

// nodesOf are the nodes of the project's pods.
func nodesOf(st *State) []string {
	nodes := map[string]bool{}
	for _, svc := range st.Services {
		for _, p := range svc.Pods {
			if p.Node != "" {
				nodes[p.Node] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(nodes))
}

// withAgent are the containers whose agent answers.
func withAgent(st *State) []kube.UsageKey {
	var all []kube.UsageKey
	for _, svc := range st.Services {
		for _, c := range svc.Sync {
			if c.Connected {
				all = append(all, kube.UsageKey{Pod: c.Pod, Container: c.Container})
			}
		}
	}
	return all
}

// askUsage has the agent of a container read its cgroup. One of before kdev asked for
// that does not know how.
func (s *Session) askUsage(ctx context.Context, at kube.UsageKey) (cpu time.Duration, memory int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := shortOutput{stop: cancel}
	if err = s.parts.Kube.Exec(ctx, s.opts.Project.Namespace, at.Pod, at.Container, []string{build.Agent, "usage"}, nil, &out, io.Discard); err == nil {
		_, err = fmt.Sscan(out.String(), (*int64)(&cpu), &memory)
	}
	return cpu, memory, err
}

// A shortOutput takes two numbers. Who can replace the agent in a container can make it print
// without end.
type shortOutput struct {
	bytes.Buffer
	stop func()
}

const mostAnswer = 256 // bytes

func (a *shortOutput) Write(p []byte) (int, error) {
	if a.Len()+len(p) > mostAnswer {
		a.stop()
		return 0, errors.New("the answer is too long")
	}
	return a.Buffer.Write(p)
}

// A meter makes of the processor time that containers have had how much of it they
// take.
type meter struct {
	ask  func(ctx context.Context, at kube.UsageKey) (cpu time.Duration, memory int64, err error)
	last map[kube.UsageKey]cpuRead
}

type cpuRead struct {
	cpu time.Duration
	at  time.Time
}

// read asks for each container. What is not told is left out; of the processor nothing is
// known before the second time.
func (m *meter) read(ctx context.Context, containers []kube.UsageKey) map[kube.UsageKey]kube.Usage {
	var mu sync.Mutex
	usage, reads := map[kube.UsageKey]kube.Usage{}, map[kube.UsageKey]cpuRead{}
	turns := make(chan struct{}, mostAsked)
	var work sync.WaitGroup
	for _, c := range containers {
		turns <- struct{}{}
		work.Go(func() {
			defer func() { <-turns }()
			cpu, memory, err := m.ask(ctx, c)
			if err != nil {
				return
			}
			now := cpuRead{cpu, time.Now()}
			mu.Lock()
			defer mu.Unlock()
			reads[c] = now
			u := kube.Usage{Memory: memory}
			if was, ok := m.last[c]; ok && now.cpu >= was.cpu && now.at.After(was.at) { // else it was started anew
				u.CPU = int64((1000*(now.cpu-was.cpu) + now.at.Sub(was.at) - 1) / now.at.Sub(was.at))
			}
			usage[c] = u
		})
	}
	work.Wait()
	m.last = reads
	return usage
}

// weigh notes in a snapshot what its containers take.
func (l *loop) weigh(v *Service) {
	for i := range v.Pods {
		p := &v.Pods[i]
		for j := range p.Containers {
			c := &p.Containers[j]
			u := l.usage[kube.UsageKey{Pod: p.Name, Container: c.Name}]
			c.CPU, c.Memory = u.CPU, u.Memory
		}
	}
}
