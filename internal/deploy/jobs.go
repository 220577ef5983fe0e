package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var jobKind = schema.GroupKind{Group: "batch", Kind: "Job"}

// A ledger remembers, in the set's parent, which render of each Job ran: one
// that is gone because its time to live was over runs again when its render
// changed, and not before. A Job without ttlSecondsAfterFinished that is gone
// was deleted by somebody, who wants it to run again. So it is with the hooks of
// charts, of whatever kind, that are deleted when they succeeded.
type ledger struct {
	mu    sync.Mutex
	runs  map[string]string // hash of the render
	dirty bool              // differs from what the parent says
}

// read takes what the parent says; nil where there is none. What is not written yet
// holds: an API server that was away must not have a migration run twice.
func (l *ledger) read(data map[string]string) {
	runs := map[string]string{}
	if text := data["jobs"]; text != "" && json.Unmarshal([]byte(text), &runs) != nil {
		runs = map[string]string{} // at worst a Job runs once more
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if data == nil || !l.dirty {
		l.runs, l.dirty = runs, false
	}
}

// unsaved says that what data gave was not written.
func (l *ledger) unsaved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = true
}

// data is what the parent shall say.
func (l *ledger) data() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = false
	if len(l.runs) == 0 {
		return nil
	}
	text, err := json.Marshal(l.runs)
	if err != nil {
		return nil
	}
	return map[string]string{"jobs": string(text)}
}

func (l *ledger) changed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dirty
}

// ran says whether this render of a Job ran to its end and was cleaned up.
func (l *ledger) ran(t target) bool {
	if !(t.key.GroupKind == jobKind && expires(t.Object)) && !(t.Hook != nil && t.Hook.WhenSucceeded) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renew(t)
	return l.runs[ledgerKey(t.key)] == renderHash(t.Object)
}

// renew completes, with l.mu held, the record of a hook by a kdev that did not note what
// hooks read: where the hook is as it was then, what it reads is taken to be. The record
// is to say so, or data that changes later would go unseen.
func (l *ledger) renew(t target) {
	if t.inputs == "" {
		return
	}
	if key := ledgerKey(t.key); l.runs[key] == hashWith(t.Object, "") {
		l.runs[key], l.dirty = renderHash(t.Object), true
	}
}

// ledgerKey is "namespace/name" of a Job, with the kind before it of anything else.
func ledgerKey(k objectKey) string {
	if k.GroupKind == jobKind {
		return k.namespace + "/" + k.name
	}
	return k.GroupKind.String() + " " + k.namespace + "/" + k.name
}

// note records that a render of a Job was applied.
func (l *ledger) note(t target) {
	if t.key.GroupKind == jobKind && expires(t.Object) && (t.Hook == nil || !t.Hook.WhenSucceeded) {
		l.write(t, renderHash(t.Object))
	}
}

// noteHook records that a hook ran well.
func (l *ledger) noteHook(t target) { l.write(t, renderHash(t.Object)) }

// failedBefore stands before the hash of a hook that failed.
const failedBefore = "failed "

// begunBefore stands before the hash of a hook that runs again since what it reads has
// changed.
const begunBefore = "begun "

// noteBegin records that a hook is cleared for what it reads now.
func (l *ledger) noteBegin(t target) { l.write(t, begunBefore+renderHash(t.Object)) }

// noteFailure lets a hook that failed run again when what it reads has changed; what
// changes itself does anyway.
func (l *ledger) noteFailure(t target) {
	if t.inputs == "" {
		l.forget(t) // it was noted when it was applied
		return
	}
	l.write(t, failedBefore+renderHash(t.Object))
}

// stale says whether a hook ran, well or not, when what it reads was different.
func (l *ledger) stale(t target) bool {
	if t.inputs == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renew(t)
	ran, ok := l.runs[ledgerKey(t.key)]
	return ok && strings.TrimPrefix(strings.TrimPrefix(ran, failedBefore), begunBefore) != renderHash(t.Object)
}

// forgetHook lets a hook run again in whatever render comes next: another one than the
// one that ran is about to.
func (l *ledger) forgetHook(t target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := ledgerKey(t.key)
	if _, ok := l.runs[key]; ok && t.Hook.WhenSucceeded {
		delete(l.runs, key)
		l.dirty = true
	}
}

// forget lets a hook run again.
func (l *ledger) forget(t target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := ledgerKey(t.key)
	if _, ok := l.runs[key]; ok {
		delete(l.runs, key)
		l.dirty = true
	}
}

func (l *ledger) write(t target, hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := ledgerKey(t.key)
	if l.runs == nil {
		l.runs = map[string]string{}
	}
	l.dirty = l.dirty || l.runs[key] != hash
	l.runs[key] = hash
}

// keep forgets what left the manifests.
func (l *ledger) keep(wanted map[objectKey]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.runs, func(key, _ string) bool {
		for k := range wanted {
			if ledgerKey(k) == key {
				return false
			}
		}
		return true
	})
}

func expires(o *Object) bool {
	_, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "ttlSecondsAfterFinished")
	return ok
}

// renderHash is the hash of an object, with what it is given to read, but for what every
// render makes differently.
func renderHash(o *Object) string { return hashWith(o, o.inputs) }

func hashWith(o *Object, inputs string) string {
	if len(o.unstable) > 0 {
		u := o.DeepCopy()
		for _, path := range o.unstable {
			path.remove(u.Object)
			path.moved().remove(u.Object)
		}
		o = &Object{Unstructured: u}
	}
	text, _ := json.Marshal(o.Object) // sorts keys; what cannot be marshalled the API server refuses
	sum := sha256.Sum256(append(text, inputs...))
	return hex.EncodeToString(sum[:8])
}
