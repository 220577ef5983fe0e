package watch

import "sync"

// notices passes each notice on once. Nobody has to read: what finds no room is
// dropped, oldest first.
type notices struct {
	mu     sync.Mutex
	out    chan Notice
	said   map[string]bool
	count  map[string]int // of said, by code
	closed bool
}

const (
	// noticeTypes are the distinct ones of a code that are told: a tree of bad
	// names must not fill the memory.
	noticeTypes = 4096
	// noticeRoom takes all that one look at such a tree finds, while its reader
	// writes to a terminal.
	noticeRoom = noticeTypes + 64
)

func newNotices() *notices {
	return &notices{out: make(chan Notice, noticeRoom), said: map[string]bool{}, count: map[string]int{}}
}

// once tells text unless key was told before. The last one of a code that has
// too many says that there are more.
func (n *notices) once(key, code, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said[key] || n.count[code] == noticeTypes {
		return
	}
	n.said[key] = true
	if n.count[code]++; n.count[code] == noticeTypes {
		text += "; there are more, which are not told"
	}
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
