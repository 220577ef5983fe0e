package deploy

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// changedData remembers which keys of ConfigMaps and Secrets Applies changed, and how much
// of that each workload's pods have been replaced for: an outage may come between the two,
// and a workload may join a later Apply than the ConfigMap that it reads. It stands in the
// set's parent before the change is written: a kdev that ends in between owes the new pods,
// and the next one finds the data as the manifests want it and nothing to do.
type changedData struct {
	mu      sync.Mutex
	said    debts
	written string                   // what the parent says
	pending map[string]pendingChange // of this stage, by object
}

// pendingChange is a change that is about to be written.
type pendingChange struct {
	before map[string]int // the object's keys in debts without it
	keys   []string
}

// debts are changes and whom they have reached, by "Kind/name".
type debts struct {
	Changes int                       `json:"changes"`        // so far
	Keys    map[string]map[string]int `json:"keys"`           // the number of the change, by object and key
	Done    map[string]int            `json:"done,omitempty"` // the last change that a workload's pods have, or need not have
}

// read takes what the parent says; nil where there is none. What is not written yet holds.
func (c *changedData) read(data map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if data != nil && c.text() != c.written {
		return
	}
	c.said, c.written = debts{}, data["changed"]
	if c.written != "" && json.Unmarshal([]byte(c.written), &c.said) != nil {
		c.said = debts{} // at worst some pods are replaced later
	}
}

// into puts what the parent shall say into its data.
func (c *changedData) into(data map[string]string) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = c.text()
	if c.written == "" {
		return data
	}
	if data == nil {
		data = map[string]string{}
	}
	data["changed"] = c.written
	return data
}

// unsaved says that what into gave was not written.
func (c *changedData) unsaved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = "unknown"
}

// changed says whether the parent says something else.
func (c *changedData) changed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text() != c.written
}

func (c *changedData) text() string {
	if len(c.said.Keys) == 0 {
		return ""
	}
	text, err := json.Marshal(c.said) // sorts keys
	if err != nil {
		return ""
	}
	return string(text)
}

// expect notes what writing an object will change, before it is written. It reports
// whether that is anything.
func (c *changedData) expect(o *Object, was *unstructured.Unstructured) bool {
	keys := differingKeys(was.Object, o.Object)
	if len(keys) == 0 || current(o.Unstructured, was) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		c.pending = map[string]pendingChange{}
	}
	ref := RefOf(o).String()
	c.pending[ref] = pendingChange{maps.Clone(c.said.Keys[ref]), keys}
	c.change(ref, keys)
	return true
}

// begin begins a stage. What the last one expected and has not seen may have happened: the
// answer to a write may be lost with the connection.
func (c *changedData) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = nil
}

// refused takes back what was expected of an object that was not written.
func (c *changedData) refused(o *Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.undo(RefOf(o).String())
}

func (c *changedData) undo(ref string) {
	e, ok := c.pending[ref]
	if !ok {
		return
	}
	if delete(c.said.Keys, ref); len(e.before) > 0 {
		c.said.Keys[ref] = e.before
	}
	delete(c.pending, ref)
}

// see takes what became of one object of the project's namespace.
func (c *changedData) see(o *Object, was *unstructured.Unstructured, out outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case IsWorkload(o):
		if out.created || out.recreated || out.changed && was != nil && out.now != nil && !reflect.DeepEqual(template(was), template(out.now)) {
			c.have(RefOf(o)) // its new pods read what is there by now
		}
	case isData(o):
		var keys []string
		if was != nil && out.now != nil && (out.changed || out.recreated) {
			keys = differingKeys(was.Object, out.now.Object)
		}
		ref := RefOf(o).String()
		if e, ok := c.pending[ref]; ok && slices.Equal(e.keys, keys) {
			return
		}
		c.undo(ref)
		c.change(ref, keys)
	}
}

// isData says whether an object is a ConfigMap or a Secret.
func isData(o *Object) bool {
	return o.GroupVersionKind().Group == "" && (o.GetKind() == "ConfigMap" || o.GetKind() == "Secret")
}

// differingKeys are the keys whose values differ, sorted.
func differingKeys(before, after map[string]any) []string {
	differ := map[string]bool{}
	for _, field := range []string{"data", "binaryData"} {
		had, _ := before[field].(map[string]any)
		has, _ := after[field].(map[string]any)
		for key, value := range had {
			if now, ok := has[key]; !ok || !reflect.DeepEqual(value, now) {
				differ[key] = true
			}
		}
		for key := range has {
			if _, ok := had[key]; !ok {
				differ[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(differ))
}

// change makes one change of some keys of an object.
func (c *changedData) change(ref string, keys []string) {
	if len(keys) == 0 {
		return
	}
	if c.said.Keys == nil {
		c.said.Keys = map[string]map[string]int{}
	}
	if c.said.Keys[ref] == nil {
		c.said.Keys[ref] = map[string]int{}
	}
	c.said.Changes++
	for _, key := range keys {
		c.said.Keys[ref][key] = c.said.Changes
	}
}

// have notes that a workload's pods have all changes.
func (c *changedData) have(workload Ref) {
	if len(c.said.Keys) == 0 {
		return // nothing is owed to anybody
	}
	if c.said.Done == nil {
		c.said.Done = map[string]int{}
	}
	c.said.Done[workload.String()] = c.said.Changes
}

func template(u *unstructured.Unstructured) any {
	t, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "template")
	return t
}

// news are the keys that changed since a workload's pods were replaced last, by
// "Kind/name".
func (c *changedData) news(workload Ref) map[string]map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := map[string]map[string]bool{}
	for ref, keys := range c.said.Keys {
		for key, change := range keys {
			if change <= c.said.Done[workload.String()] {
				continue
			}
			if news[ref] == nil {
				news[ref] = map[string]bool{}
			}
			news[ref][key] = true
		}
	}
	return news
}

// settled notes that a workload's pods have all changes.
func (c *changedData) settled(workload Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.have(workload)
}

// forget forgets the changes once none of some workloads, all that there are but for hooks,
// whose turn may be over for ever, is owed new pods for one. Those that are kept back, by a
// person or by a build, are owed theirs.
func (c *changedData) forget(workloads []*Object) {
	for _, o := range workloads {
		if started, _ := readsOf(o, c.news(RefOf(o))); len(started) > 0 {
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = debts{}
}

// announce writes down which ConfigMaps and Secrets are about to change, so that the pods
// that read them get theirs even when this process does not live to see to it.
func (d *Deployer) announce(ctx context.Context, targets []target, live map[objectKey]*unstructured.Unstructured, save func() error) error {
	d.data.begin()
	news := false
	for _, t := range targets {
		was := live[t.key]
		if was == nil || !isData(t.Object) || t.key.namespace != d.options.Namespace {
			continue
		}
		keepLive(t.Object, was)
		if _, err := t.fill(ctx, was); err == nil { // else writing it says what is wrong
			news = d.data.expect(t.Object, was) || news
		}
	}
	if !news {
		return nil
	}
	return save()
}
