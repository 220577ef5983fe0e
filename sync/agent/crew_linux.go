package agent

import (
	"runtime"
	"sync"
)

// A crew carries out jobs beside each other. Its zero value is ready: where there
// is one processor it is whoever asks.
type crew struct {
	jobs    chan func()
	members sync.WaitGroup
	open    sync.WaitGroup // jobs that have not ended
}

const (
	crewMost = 4
	queued   = 8 // jobs that wait; each may hold a small file
)

// do carries out a job, or has it carried out.
func (c *crew) do(job func()) {
	most := min(crewMost, runtime.GOMAXPROCS(0))
	if most == 1 {
		job()
		return
	}
	if c.jobs == nil {
		c.jobs = make(chan func(), queued)
		for range most {
			c.members.Go(func() {
				for job := range c.jobs {
					job()
					c.open.Done()
				}
			})
		}
	}
	c.open.Add(1)
	c.jobs <- job
}

// wait waits for all jobs.
func (c *crew) wait() { c.open.Wait() }

// end waits and dismisses the crew.
func (c *crew) end() {
	if c.jobs != nil {
		close(c.jobs)
		c.members.Wait()
		c.jobs = nil
	}
}
