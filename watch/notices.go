package watch

import "sync"

// notices passes each notice on once. Nobody has to read: what finds no room is
// dropped, oldest first.
type notices struct {
	mu     sync.Mutex
	out    chan Notice
	said   map[string]bool
	closed bool
}

const (
	noticeRoom  = 64
	noticeTypes = 4096 // distinct ones that are remembered; a tree of bad names must not fill the memory
)

func newNotices() *notices {
	return &notices{out: make(chan Notice, noticeRoom), said: map[string]bool{}}
}

// once tells text unless key was told before.
func (n *notices) once(key, code, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said[key] || len(n.said) >= noticeTypes {
		return
	}
	n.said[key] = true
	n.send(Notice{code, text})
}

// again tells text each time that it happens.
func (n *notices) again(code, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.send(Notice{code, text})
}

func (n *notices) send(notice Notice) {
	if n.closed {
		return
	}
	for {
		select {
		case n.out <- notice:
			return
		default:
		}
		select {
		case <-n.out:
		default:
		}
	}
}

func (n *notices) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	close(n.out)
}
