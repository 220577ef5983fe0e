package deploy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/problem"
)

// A removal keeps account of objects that are to go, from when that is decided until they
// are gone: whoever is interrupted, or fails, says what went and what is left. A nil
// removal keeps none.
type removal struct {
	mu    sync.Mutex
	left  map[types.UID]leaving
	asked map[types.UID]string // labels of those whose deletion was accepted
}

// leaving is an object that is to go.
type leaving struct {
	member
	asked bool
	waits string // what for, where the object itself does not tell
}

// begin forgets what an attempt before did not come to: the next one looks anew.
func (r *removal) begin() {
	r.left = map[types.UID]leaving{}
	if r.asked == nil {
		r.asked = map[types.UID]string{}
	}
}

func (r *removal) expect(all []member) {
	for _, m := range all {
		r.change(m, func(l *leaving) {})
	}
}

// ask notes that the API server accepted the deletion of m.
func (r *removal) ask(m member, waits string) {
	r.change(m, func(l *leaving) {
		l.asked, l.waits = true, waits
		r.asked[m.GetUID()] = m.label()
	})
}

// see notes m as it is now.
func (r *removal) see(m member) {
	r.change(m, func(l *leaving) { l.member = m })
}

// spare notes that m stays after all.
func (r *removal) spare(m member) { r.gone(m) }

func (r *removal) gone(m member) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.left, m.GetUID())
}

func (r *removal) goneAll(all map[types.UID]member) {
	for _, m := range all {
		r.gone(m)
	}
}

func (r *removal) change(m member, fn func(*leaving)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.left[m.GetUID()]
	if !ok {
		l.member = m
	}
	fn(&l)
	r.left[m.GetUID()] = l
}

// outcome says what went, "Kind/name", and what is left of what should have gone.
func (r *removal) outcome() (removed []string, left []Kept) {
	for uid, label := range r.asked {
		if _, there := r.left[uid]; !there {
			removed = append(removed, label)
		}
	}
	slices.Sort(removed)
	for _, l := range r.left {
		why := "it was not asked to go yet"
		switch {
		case l.waits != "":
			why = "it waits for " + l.waits
		case l.asked:
			why = "it is being deleted and waits for " + waitsFor(l.member)
		}
		left = append(left, Kept{l.label(), why})
	}
	slices.SortFunc(left, func(a, b Kept) int { return strings.Compare(a.Object, b.Object) })
	return removed, left
}

// notGone is the problem of a removal whose time is up.
func notGone(left []Kept) error {
	p := &problem.Problem{Class: problem.Timeout, Code: "removal-stuck", Summary: "the removal is not done in time",
		Hint: "`kubectl describe` says who should have removed the finalizers; kdev down goes on from here, and --timeout gives it longer"}
	if len(left) > 0 {
		p.Where, p.Summary = left[0].Object, "it is not gone in time: "+left[0].Why
		if len(left) > 1 {
			p.Summary = fmt.Sprintf("it and %d more are not gone in time: %s", len(left)-1, left[0].Why)
		}
	}
	return p
}
