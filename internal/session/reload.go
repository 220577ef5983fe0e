package session

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/kdev-io/kdev/internal/config"
)

// A saved kdev.yaml is applied by a new loop that takes over what a person did
// and finds out everything else by looking, as a new session does: what runs and
// is current stays as it is. The session, its ports and its socket go on.

// configChanged reads a saved configuration. A mistake is told, with its line,
// and the one before goes on.
func (l *loop) configChanged() {
	if l.s.opts.Reload == nil || l.next != nil {
		return
	}
	p, err := l.s.opts.Reload()
	if err != nil {
		l.s.mistaken(err, "the saved configuration has a mistake; the one before goes on")
		return
	}
	l.s.mistakes = nil
	was := l.s.opts.Project
	switch {
	case meaning(was) == meaning(p):
		// a comment, the order of keys, or a mistake that was taken back
	case p.Name != was.Name || p.Namespace != was.Namespace || !reflect.DeepEqual(p.Cluster, was.Cluster) || p.BuildKit != was.BuildKit:
		l.s.tell(Notice{Level: Warn, Code: "config-changed", Text: "the project's name, namespace, cluster or BuildKit changed: leave and run `kdev up` again to use the new one"})
	default:
		l.next = p
		l.leave()
	}
}

// meaning is what a configuration says, without the lines on which it says it.
func meaning(p *config.Project) string {
	b, err := json.Marshal(p)
	var tree any
	if err == nil {
		err = json.Unmarshal(b, &tree)
	}
	if err != nil {
		return "" // a Project is plain data
	}
	b, _ = json.Marshal(unplaced(tree))
	return string(b)
}

// unplaced takes out where things stand.
func unplaced(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, field := range v {
			switch key {
			case "Where", "NamespaceFrom", "Detected":
				delete(v, key)
			default:
				v[key] = unplaced(field)
			}
		}
	case []any:
		for i := range v {
			v[i] = unplaced(v[i])
		}
	}
	return v
}

// adopt takes over from the loop before what cannot be found out by looking.
func (l *loop) adopt(was *loop) {
	l.before = was.byName
	l.generation, l.deployed, l.ready, l.since = was.generation, was.deployed, was.ready, was.since
	l.stages, l.present, l.took, l.asked, l.missed = was.stages, was.present, was.took, was.asked, was.missed
	for _, e := range l.missed {
		l.generation = max(l.generation, e.batch.Generation)
	}
	for _, svc := range l.services {
		svc.adopt(l.before[svc.Name])
	}
}

// adopt takes over what a person did with the service of this name, and how long
// it has been as it is.
func (svc *service) adopt(was *service) {
	if was == nil {
		return
	}
	svc.off, svc.placed, svc.paused, svc.scaled, svc.back = was.off, was.placed, was.paused, was.scaled, was.back
	svc.admitted = was.admitted && svc.local == nil && was.local == nil
	svc.wasReady, svc.since, svc.told = was.wasReady, was.since, was.told
	svc.track, svc.last, svc.builds = was.track, was.last, was.builds
	svc.track.end(Superseded) // whatever it was about: the tree is looked at anew
	if svc.keeps() {
		svc.saved, svc.holdsManifests = was.saved, was.holdsManifests
	}
}

// catchUp does what was saved while the loop before ended and this one began: nobody
// looked at the configuration then, and what a batch triggers is seen in no tree.
func (l *loop) catchUp(was *loop) {
	if was == nil || was.old == nil {
		return // or the configuration that was saved cannot be used
	}
	missed := l.missed
	l.missed = nil
	for _, e := range missed {
		e.apply(l)
	}
	l.configChanged()
}

// known leaves only those of names that a service has: what was named at the
// start may be gone from the configuration since.
func (l *loop) known(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return l.byName[name] == nil })
}

// mistaken tells each mistake of a configuration that was saved and does not count. They
// are part of the State until another one is saved.
func (s *Session) mistaken(err error, text string) {
	s.mistakes = nil
	all := []error{err}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		all = several.Unwrap()
	}
	for _, err := range all {
		p := asProblem(err, "config-invalid", "")
		s.mistakes = append(s.mistakes, p)
		s.tell(Notice{Level: Fail, Code: "config-invalid", Text: text, Problem: p})
	}
}

// drain throws away what the goroutines of a loop that ended still had to say, and
// returns the commands and the batches among it: these are for the next one.
func (s *Session) drain() (commands []asked, batches []filesChanged) {
	for {
		select {
		case e := <-s.events:
			switch e := e.(type) {
			case asked:
				commands = append(commands, e)
			case filesChanged:
				batches = append(batches, e)
			}
		default:
			return commands, batches
		}
	}
}
