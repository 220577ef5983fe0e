package mirror

import (
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent"
	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/engine"
)

// A file that has no place in the container triggers the rules that name it, in
// one go with what is synced; rules for every file are for synced ones.
func TestTriggers(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	pod := agenttest.Start(t, "sh", "-c", `trap 'echo reloaded' HUP; echo started; while :; do sleep 0.01; done`)
	b.cluster.Set("a", pod)
	hooks := []Hook{
		{Paths: []string{"schema.sql"}, Run: []string{"sh", "-c", "echo migrating"}, Match: func(_, local string) bool { return local == "db/schema.sql" }},
		{Paths: []string{"*.py"}, Restart: true},
		{Signal: "HUP"}, // for every file
	}
	x := b.write("x.py", "1", 0o644)
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/x.py": x}, hooks)
	b.containers("a")
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	g = b.next()
	b.m.Update("web", g, nil, hooks, "db/schema.sql")
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "migrating", 1); err != nil {
		t.Fatal(err)
	}
	x = b.write("x.py", "2", 0o644)
	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/x.py": &x}, hooks, "db/schema.sql")
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "started", 2); err != nil {
		t.Fatal(err)
	}
	out := pod.Output.String()
	if strings.Count(out, "migrating") != 2 || strings.Count(out, "reloaded") != 0 {
		t.Errorf("output %q", out)
	}
	if strings.LastIndex(out, "migrating") > strings.LastIndex(out, "started") {
		t.Errorf("the restart came before the command: %q", out)
	}
}

// What changed in one container by itself has that one do what the rules say, those for
// every file too, and no other container.
func TestTriggerOfOneContainer(t *testing.T) {
	b := newBench(t)
	pods := map[string]*agenttest.Container{}
	for _, name := range []string{"a", "b"} {
		pods[name] = agenttest.Start(t, "sh", "-c", `trap 'echo reloaded' HUP; echo started; while :; do sleep 0.01; done`)
		b.cluster.Set(name, pods[name])
	}
	rules := []Hook{
		{Paths: []string{"*.conf"}, Run: []string{"sh", "-c", "echo checked"}, Match: func(_, local string) bool { return strings.HasSuffix(local, ".conf") }},
		{Paths: []string{"*.py"}, Restart: true, Match: func(_, local string) bool { return strings.HasSuffix(local, ".py") }},
		{Signal: "HUP", Match: func(_, local string) bool { return local != "" }},
	}
	g := b.next()
	b.m.SetDesired("web", g, nil, rules)
	b.containers("a", "b")
	b.synced(g)
	for _, pod := range pods {
		if err := pod.Output.Await(b.ctx, "started", 1); err != nil {
			t.Fatal(err)
		}
	}
	g = b.next()
	b.m.Trigger("web", g, "a", "web", rules, "nginx.conf")
	b.synced(g)
	for _, text := range []string{"checked", "reloaded"} {
		if err := pods["a"].Output.Await(b.ctx, text, 1); err != nil {
			t.Fatal(err)
		}
	}
	if out := pods["a"].Output.String(); strings.Count(out, "started") != 1 {
		t.Errorf("a: %q", out)
	}
	if out := pods["b"].Output.String(); out != "started\n" {
		t.Errorf("b: %q", out)
	}
}

// The commands of files that have no place in the container run again where what
// they did is gone, and nowhere else.
func TestTriggersOfFreshRoot(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	// The start waits for the first batch however busy the machine is: what comes before
	// it is what this is about.
	patient := agent.Limits{Call: time.Minute, Gate: time.Minute}
	start := func() *agenttest.Container {
		return agenttest.StartLimited(t, patient, "sh", "-c", "echo started; exec sleep 1000")
	}
	pod := start()
	b.cluster.Set("a", pod)
	hooks := []Hook{
		{Paths: []string{"schema.sql"}, Run: []string{"sh", "-c", "echo migrating"}, Restart: true, Match: func(_, local string) bool { return local == "db/schema.sql" }},
		{Paths: []string{"x.txt"}, Run: []string{"sh", "-c", "echo installing"}},
		{Paths: []string{"other.sql"}, Run: []string{"sh", "-c", "echo never"}, Match: func(_, local string) bool { return local == "db/other.sql" }},
	}
	x := b.write("x.txt", "1", 0o644)
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/x.txt": x}, hooks)
	c := Container{Service: "web", Namespace: "ns", Pod: "a", PodUID: "1", Name: "web", ID: "1", HasAgent: true, Image: map[string]engine.File{root + "/x.txt": x}, MayHold: true}
	b.m.SetContainers("web", []Container{c})
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	g = b.next()
	b.m.Update("web", g, nil, hooks, "db/schema.sql")
	c.Behind = []string{"db/schema.sql"}
	b.m.SetContainers("web", []Container{c})
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "started", 2); err != nil {
		t.Fatal(err)
	}
	// A connection that is made anew finds the root as it was.
	b.forget()
	pod.Cut()
	b.await("connected", func(e Event) bool { return e.Kind == Connected })
	g = b.next()
	b.m.Update("web", g, nil, hooks)
	b.synced(g)
	if n := strings.Count(pod.Output.String(), "migrating"); n != 1 {
		t.Errorf("it ran %d times, want once: %q", n, pod.Output)
	}
	// A restarted container and a replaced pod: as they come, before they start.
	for _, uid := range []string{"1", "2"} {
		pod.Kill()
		if uid != c.PodUID {
			b.m.SetContainers("web", nil) // the pod goes before another one has its name
		}
		pod = start()
		b.cluster.Set("a", pod)
		c.PodUID, c.ID = uid, c.ID+"again"
		b.m.SetContainers("web", []Container{c})
		if err := pod.Output.Await(b.ctx, "started", 1); err != nil {
			t.Fatal(err)
		}
		if out := pod.Output.String(); out != "migrating\nstarted\n" {
			t.Errorf("output %q", out)
		}
	}
}

// Where no agent runs the application each connection has an agent of its own, which
// remembers nothing: that the root is the one of before is known by the container's name.
func TestFreshRootWithoutRun(t *testing.T) {
	b := newBench(t)
	pod := agenttest.Alone(t)
	b.cluster.Set("a", pod)
	hooks := []Hook{{Paths: []string{"schema.sql"}, Run: []string{"migrate"}, Match: func(_, local string) bool { return local == "db/schema.sql" }}}
	c := Container{Service: "web", Namespace: "ns", Pod: "a", PodUID: "1", Name: "web", ID: "1", HasAgent: true, Image: map[string]engine.File{}, Behind: []string{"db/schema.sql"}}
	for i, id := range []string{"1", "1", "2"} {
		b.forget()
		c.ID = id
		b.m.SetContainers("web", []Container{c})
		if i == 0 {
			b.m.SetDesired("web", b.next(), nil, hooks)
		} else {
			pod.Cut()
		}
		b.await("connected", func(e Event) bool { return e.Kind == Connected })
		g := b.next()
		b.m.Update("web", g, nil, hooks)
		b.synced(g)
		told := 0
		b.mu.Lock()
		for _, e := range b.events {
			if e.Kind == Hooked && e.Problem != nil && e.Problem.Code == "sync-no-run" {
				told++
			}
		}
		b.mu.Unlock()
		if want := map[int]int{0: 1, 1: 0, 2: 1}[i]; told != want {
			t.Errorf("connection %d, container %s: told %d times that a command cannot run, want %d", i, id, told, want)
		}
	}
}

// Where no agent runs the application, what rules ask for is not done, and that is
// told; the files are there.
func TestRulesWithoutRun(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Alone(t))
	hooks := []Hook{{Paths: []string{"x.txt"}, Restart: true}, {Paths: []string{"deps.txt"}, Run: []string{"npm", "ci"}}}
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/plain": b.write("plain", "1", 0o644)}, hooks)
	b.containers("a")
	b.synced(g)
	for name, says := range map[string]string{"x.txt": "cannot be restarted", "deps.txt": "`npm ci` is not run"} {
		b.forget()
		f := b.write(name, "1", 0o644)
		g = b.next()
		b.m.Update("web", g, map[string]*engine.File{root + "/" + name: &f}, hooks)
		b.synced(g)
		want(t, root+"/"+name, "1", 0o644)
		e := b.await("the problem", func(e Event) bool { return e.Kind == Hooked })
		if e.Problem == nil || e.Problem.Code != "sync-no-run" || !strings.Contains(e.Problem.Summary, says) {
			t.Errorf("%s: %+v", name, e.Problem)
		}
	}
	b.forget()
	f := b.write("plain", "2", 0o644)
	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/plain": &f}, hooks)
	b.synced(g)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Kind == Hooked {
			t.Errorf("told without a rule: %+v", e)
		}
	}
}
