package tree

import "sync"

// What a Glance keeps of what it read.
const (
	recentFile = 64 << 10 // the largest file
	recentAll  = 8 << 20  // in all, with what it takes to find each
	recentCost = 200      // for each
)

// recents are the contents of small files that were hashed a moment ago, so that
// those who send them need not read them again.
type recents struct {
	mu    sync.Mutex
	have  map[Digest][]byte
	order []Digest // oldest first
	size  int
}

func (r *recents) add(d Digest, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.have[d]; ok {
		return
	}
	if r.have == nil {
		r.have = map[Digest][]byte{}
	}
	r.have[d] = content
	r.order = append(r.order, d)
	r.size += len(content) + recentCost
	for r.size > recentAll {
		r.size -= len(r.have[r.order[0]]) + recentCost
		delete(r.have, r.order[0])
		r.order = r.order[1:]
	}
}

// Recent is the content with this digest, if a Glance read it not long ago.
// Nobody may change it.
func (x *Index) Recent(d Digest) ([]byte, bool) {
	x.recents.mu.Lock()
	defer x.recents.mu.Unlock()
	content, ok := x.recents.have[d]
	return content, ok
}
