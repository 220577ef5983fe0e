package logs

import (
	"hash/fnv"
	"sync"
)

// colors gives out palette entries. Pods of one workload get different ones as long
// as there are any; among those that are left, the one that is used least.
type colors struct {
	mu     sync.Mutex
	uses   []int
	groups map[string]map[string]*share // workload -> pod
}

// A share is a palette entry that a pod has, for as many of its containers.
type share struct{ entry, uses int }

func newColors(n int) *colors {
	return &colors{uses: make([]int, n), groups: map[string]map[string]*share{}}
}

// take returns the entry of a member of a group, the same one until it was given
// back as often as it was taken.
func (c *colors) take(group, member string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	members := c.groups[group]
	if members == nil {
		members = map[string]*share{}
		c.groups[group] = members
	}
	if s := members[member]; s != nil {
		s.uses++
		return s.entry
	}
	taken := make([]int, len(c.uses))
	for _, s := range members {
		taken[s.entry]++
	}
	// The start depends on the name, so that a workload tends to look the same from
	// one run to the next.
	start := hash(group)
	best := -1
	for k := range c.uses {
		i := (start + k) % len(c.uses)
		if best < 0 || taken[i] < taken[best] || taken[i] == taken[best] && c.uses[i] < c.uses[best] {
			best = i
		}
	}
	members[member] = &share{entry: best, uses: 1}
	c.uses[best]++
	return best
}

// byName returns the entry of a name for as long as the hub lives: the least used.
func (c *colors) byName(name string) int {
	return c.take("name of a container", name)
}

func (c *colors) give(group, member string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.groups[group][member]
	if s == nil {
		return
	}
	if s.uses--; s.uses > 0 {
		return
	}
	c.uses[s.entry]--
	delete(c.groups[group], member)
	if len(c.groups[group]) == 0 {
		delete(c.groups, group)
	}
}

func hash(s string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return int(h.Sum32() >> 1)
}
