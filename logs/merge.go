package logs

import (
	"container/heap"
	"time"

	"github.com/kdev-io/kdev/logs/store"
)

const (
	// mergeWindow is how long a line waits for older ones of other containers.
	mergeWindow = 250 * time.Millisecond
	// mergeBytes bounds what waits. Past it the oldest go out early.
	mergeBytes = 64 << 20
)

// mergeStart bounds how long the logs that are there at the start wait for those that
// are not open yet.
const mergeStart = 10 * time.Second

// A merger puts lines of all sources in the order of their times. A line goes out
// when it has waited for mergeWindow; lines from before the start, which come as
// fast as they can be read, wait until the last of them has come.
type merger struct {
	emit  func(src *store.Source, l store.Line, msg []byte)
	now   func() time.Time
	start int64 // lines before are of the past
	once  bool  // all is of the past: nothing goes out before the end
	// behind says that containers may have lines of the past which did not come yet; nil
	// once they had their time: see mergeStart.
	behind func() bool

	heap  lines
	seq   uint64
	bytes int
	past  time.Time // when the last line of the past came
	spare [][]byte
}

type waitingLine struct {
	time    int64
	seq     uint64
	arrived time.Time
	src     *store.Source
	line    store.Line
	text    []byte
}

// lines is a heap by time, then by arrival.
type lines []waitingLine

func (h lines) Len() int { return len(h) }
func (h lines) Less(i, j int) bool {
	if h[i].time != h[j].time {
		return h[i].time < h[j].time
	}
	return h[i].seq < h[j].seq
}
func (h lines) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *lines) Push(x any)   { *h = append(*h, x.(waitingLine)) }
func (h *lines) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = waitingLine{}
	*h = old[:len(old)-1]
	return x
}

func (m *merger) push(src *store.Source, l store.Line, msg []byte) {
	now := m.now()
	w := waitingLine{time: l.Time, seq: m.seq, arrived: now, src: src, line: l}
	m.seq++
	if w.time == 0 {
		w.time = now.UnixNano()
	} else if w.time < m.start {
		m.past = now
	}
	if n := len(m.spare); n > 0 {
		w.text, m.spare = m.spare[n-1][:0], m.spare[:n-1]
	}
	w.text = append(w.text, msg...)
	m.bytes += len(w.text) + 96
	heap.Push(&m.heap, w)
	for m.bytes > mergeBytes {
		m.pop()
	}
}

func (m *merger) pop() {
	w := heap.Pop(&m.heap).(waitingLine)
	m.bytes -= len(w.text) + 96
	m.emit(w.src, w.line, w.text)
	if len(m.spare) < 1024 {
		m.spare = append(m.spare, w.text)
	}
}

// flush emits what waited long enough, or all.
func (m *merger) flush(all bool) {
	now := m.now()
	if m.behind != nil && (now.UnixNano()-m.start > int64(mergeStart) || !m.behind()) {
		m.behind, m.past = nil, now // what came last may still be on its way
	}
	if !all && (m.once || m.behind != nil || now.Sub(m.past) < mergeWindow) {
		return
	}
	for len(m.heap) > 0 && (all || now.Sub(m.heap[0].arrived) >= mergeWindow) {
		m.pop()
	}
}

// due is when flush has something to do; 0 for nothing.
func (m *merger) due() time.Duration {
	if len(m.heap) == 0 || m.once {
		return 0
	}
	if m.behind != nil {
		return mergeWindow / 10
	}
	now := m.now()
	return max(mergeWindow-now.Sub(m.heap[0].arrived), mergeWindow-now.Sub(m.past), time.Millisecond)
}
