package watch

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

// later holds the files that are looked at once more. A writer through mmap
// (Go's linker, databases) raises no event after it has created the file, so
// each file is stat'ed again a short and a longer while after its last event, and
// whenever somebody says that such a writer may have ended.
type later struct {
	queue dueQueue
	last  map[string]time.Time // last event of the paths in the queue
	done  map[string]time.Time // the same of those that have left it, mostDone at most
}

// mostDone are some 40 ms of looking.
const mostDone = 10_000

// again are the delays after the last event.
var again = [...]time.Duration{50 * time.Millisecond, 500 * time.Millisecond}

type dueItem struct {
	at   time.Time
	path string
	step int // index into again
}

func newLater() *later { return &later{last: map[string]time.Time{}, done: map[string]time.Time{}} }

// add notes an event. A path is in the queue at most once: when its turn comes
// too early, because of an event since, it is put back.
func (l *later) add(path string, now time.Time) {
	_, queued := l.last[path]
	l.last[path] = now
	delete(l.done, path)
	if !queued {
		heap.Push(&l.queue, dueItem{now.Add(again[0]), path, 0})
	}
}

// next returns when the first path is due.
func (l *later) next() (time.Time, bool) {
	if len(l.queue) == 0 {
		return time.Time{}, false
	}
	return l.queue[0].at, true
}

// pop returns a path that is due.
func (l *later) pop(now time.Time) (string, bool) {
	for len(l.queue) > 0 && !l.queue[0].at.After(now) {
		item := heap.Pop(&l.queue).(dueItem)
		last := l.last[item.path]
		// An event since it was queued begins the delays anew.
		if step := 0; last.Add(again[step]).After(now) {
			heap.Push(&l.queue, dueItem{last.Add(again[step]), item.path, step})
			continue
		}
		if due := last.Add(again[item.step]); due.After(now) {
			heap.Push(&l.queue, dueItem{due, item.path, item.step})
			continue
		}
		if item.step+1 < len(again) {
			heap.Push(&l.queue, dueItem{last.Add(again[item.step+1]), item.path, item.step + 1})
		} else {
			delete(l.last, item.path)
			l.leave(item.path, last)
		}
		return item.path, true
	}
	return "", false
}

// leave remembers a path whose looks are over, and forgets those that have not
// changed for longest.
func (l *later) leave(path string, last time.Time) {
	l.done[path] = last
	if len(l.done) <= mostDone {
		return
	}
	oldest := slices.SortedFunc(maps.Keys(l.done), func(a, b string) int { return l.done[a].Compare(l.done[b]) })
	for _, p := range oldest[:mostDone/4] {
		delete(l.done, p)
	}
}

// once puts what has left the queue into it for one more look.
func (l *later) once(now time.Time) {
	for p, last := range l.done {
		l.last[p] = last
		heap.Push(&l.queue, dueItem{now, p, len(again) - 1})
	}
	clear(l.done)
}

type dueQueue []dueItem

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *dueQueue) Push(x any)        { *q = append(*q, x.(dueItem)) }
func (q *dueQueue) Pop() any {
	old := *q
	item := old[len(old)-1]
	*q = old[:len(old)-1]
	return item
}
