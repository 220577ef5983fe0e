package session

import (
	"testing"

	"github.com/kdev-io/kdev/internal/config"
)

func TestMeaning(t *testing.T) {
	project := func() *config.Project {
		return &config.Project{Name: "shop", NamespaceFrom: "kdev.yaml:2", Services: []config.Service{
			{Name: "web", Where: "kdev.yaml:4", Ports: []config.Port{{Local: 8080, Remote: 80}}, Build: &config.Build{Context: "/web", Where: "kdev.yaml:5"}},
		}}
	}
	moved := project()
	moved.NamespaceFrom, moved.Services[0].Where, moved.Services[0].Build.Where = "kdev.yaml:3", "kdev.yaml:5", "kdev.yaml:6"
	if meaning(project()) != meaning(moved) {
		t.Error("a line above it changes what a configuration means")
	}
	other := project()
	other.Services[0].Ports[0].Local++
	if meaning(project()) == meaning(other) {
		t.Error("another port means the same")
	}
}

// TestWhatOnlyANewSessionTakes: the BuildKit that builds run in is opened with the
// session, as the cluster is, so another one is told and not half taken.
func TestWhatOnlyANewSessionTakes(t *testing.T) {
	is := &config.Project{Name: "shop", BuildKit: config.BuildKit{Address: config.ClusterBuildKit}}
	var told []string
	s := &Session{opts: Options{Project: &config.Project{Name: "shop"}, Reload: func() (*config.Project, error) { return is, nil }}}
	s.notify = append(s.notify, func(n Notice) { told = append(told, n.Code) })
	l := &loop{s: s}
	l.configChanged()
	if l.next != nil || len(told) != 1 || told[0] != "config-changed" {
		t.Errorf("told %v, next %+v", told, l.next)
	}
}

// TestAdopt: what a person did with a service outlives the configuration, and
// what was saved for it waits only while it has to.
func TestAdopt(t *testing.T) {
	three := 3
	was := &service{off: true, placed: true, paused: true, scaled: &three, saved: map[string]bool{"a": true}, builds: 7}
	var svc service
	svc.adopt(was)
	if !svc.off || !svc.placed || !svc.paused || svc.scaled != &three || !svc.saved["a"] || svc.builds != 7 {
		t.Errorf("adopted %+v", svc)
	}
	was.paused, was.Manual = false, true
	svc = service{} // `trigger: manual` was taken out
	svc.adopt(was)
	if len(svc.saved) > 0 {
		t.Error("nothing keeps it back any more, and yet it waits")
	}
	svc.adopt(nil) // a new one
}

// TestListenersOutliveForwarders: one that wants the same place gets the same
// listener, two that want the same place do not share it, and the rest is closed.
func TestListenersOutliveForwarders(t *testing.T) {
	var all listeners
	defer all.close(nil)
	want := func(local int, used ...*forwarder) *forwarder {
		t.Helper()
		f := &forwarder{service: "web", port: config.Port{Local: local, Remote: 80}}
		if _, err := all.open(f, used); err != nil {
			t.Fatal(err)
		}
		return f
	}
	any := want(0)
	local := any.local
	if again := want(0); again.listener != any.listener || again.local != local {
		t.Error("the same place has another listener")
	}
	first := want(0)
	if second := want(0, first); second.listener == first.listener {
		t.Error("two share a listener")
	}
	all.close([]*forwarder{first})
	if len(all) != 1 || all[0] != first {
		t.Errorf("%d are open", len(all))
	}
}
