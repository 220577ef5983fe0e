package mirror

import (
	"strings"
	"testing"

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
