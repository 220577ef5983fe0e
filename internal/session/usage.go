package session

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/kube"
)

// usageEvery is how often a kubelet looks at its containers; asking more often
// gives the same figures.
const usageEvery = 10 * time.Second

// usageRead is what the containers took when the cluster was last asked.
type usageRead struct {
	of map[kube.UsageKey]kube.Usage
}

func (e usageRead) apply(l *loop) { l.usage = e.of }

// measure reads what the containers take, until ctx is done. A cluster that does
// not say is asked again after a minute, and no figures are shown.
func (s *Session) measure(ctx context.Context) {
	var last map[kube.UsageKey]kube.Usage
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(usageEvery)
		nodes := map[string]bool{}
		for _, svc := range s.State().Services {
			for _, p := range svc.Pods {
				if p.Node != "" {
					nodes[p.Node] = true
				}
			}
		}
		if len(nodes) == 0 {
			timer.Reset(time.Second)
			continue
		}
		asking, cancel := context.WithTimeout(ctx, usageEvery)
		usage, err := s.parts.Kube.Usage(asking, s.opts.Project.Namespace, slices.Sorted(maps.Keys(nodes)))
		cancel()
		if err != nil {
			usage = nil
			timer.Reset(time.Minute)
		}
		if !maps.Equal(usage, last) {
			last = usage
			s.post(ctx, usageRead{usage})
		}
	}
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
