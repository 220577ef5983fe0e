package tui

import (
	"fmt"

	"github.com/kdev-io/kdev/internal/session"
)

// alarming is the share of a limit, in percent, from which a container is marked.
const alarming = 90

// usage is what a service's containers take: processor and memory, each against
// the limit that is nearest where there are limits, else as they are. It is
// empty where the cluster does not say.
func (m *Model) usage(svc *session.Service) string {
	var cpu, memory int64
	cpuShare, memoryShare := -1, -1
	for i := range svc.Pods {
		for _, c := range svc.Pods[i].Containers {
			cpu += c.CPU
			memory += c.Memory
			cpuShare = max(cpuShare, share(c.CPU, c.CPULimit))
			memoryShare = max(memoryShare, share(c.Memory, c.MemoryLimit))
		}
	}
	if memory == 0 {
		return ""
	}
	return m.taken(fmt.Sprintf("%dm", cpu), cpuShare) + " " + m.taken(compact(memory), memoryShare)
}

// taken is one figure, six cells wide.
func (m *Model) taken(text string, share int) string {
	if share >= 0 {
		text = fmt.Sprintf("%d%%", share)
	}
	if share >= alarming {
		return m.theme.Bad.Paint(fmt.Sprintf("%5s!", text))
	}
	return fmt.Sprintf("%5s ", text)
}

// share is how many percent of a limit are taken; -1 where there is none.
func share(n, limit int64) int {
	if limit == 0 {
		return -1
	}
	return int(100 * n / limit)
}

// compact writes a size in five cells at most.
func compact(n int64) string {
	for _, unit := range "KMGT" {
		n = (n + 512) / 1024
		if n < 1000 {
			return fmt.Sprintf("%d%c", n, unit)
		}
	}
	return "much"
}

// against says what a container takes, and of what.
func (m *Model) against(c *session.Container) string {
	if c.Memory == 0 {
		return ""
	}
	cpu, memory := fmt.Sprintf("cpu %dm", c.CPU), "memory "+volume(c.Memory)
	if c.CPULimit > 0 {
		cpu += fmt.Sprintf(" of %dm", c.CPULimit)
	}
	if c.MemoryLimit > 0 {
		memory += " of " + volume(c.MemoryLimit)
	}
	if share(c.CPU, c.CPULimit) >= alarming {
		cpu = m.theme.Bad.Paint(cpu + "!")
	}
	if share(c.Memory, c.MemoryLimit) >= alarming {
		memory = m.theme.Bad.Paint(memory + "!")
	}
	return cpu + ", " + memory
}
