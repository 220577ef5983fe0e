package cluster

import (
	"context"
	"errors"
	"strings"
	"time"
)

// frozenAfter is how long a removal may take before its containers are taken to
// be frozen. Killing a node takes one to two seconds; the engine itself gives
// up after twelve.
const frozenAfter = 2500 * time.Millisecond

// remove deletes containers and their anonymous volumes, whatever they do.
//
// On cgroup v1 a runc inside the node freezes the cgroup of a pod for an instant
// whenever it changes it. A node that is killed in that instant keeps a frozen
// process, which cannot die, and the engine says "did not receive an exit event"
// for ever. Such cgroups are thawed.
func (e *commandLine) remove(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	rm := func() error {
		_, err := e.run(ctx, append([]string{"rm", "-f", "-v"}, names...)...)
		var failed *commandError
		if errors.As(err, &failed) && strings.Contains(strings.ToLower(failed.stderr), "no such container") {
			return nil
		}
		return err
	}
	done := make(chan error, 1)
	go func() { done <- rm() }()
	timer := time.NewTimer(frozenAfter)
	defer timer.Stop()
	select {
	case err := <-done:
		if err == nil || ctx.Err() != nil {
			return err
		}
	case <-timer.C:
		e.thaw(ctx, names)
		if err := <-done; err == nil || ctx.Err() != nil {
			return err
		}
	}
	e.thaw(ctx, names)
	return rm()
}

// thaw unfreezes all cgroups below the containers' own, from a container of the
// same image, since kdev need not be root nor on the engine's machine. It does
// its best: the removal that follows tells whether that was enough.
func (e *commandLine) thaw(ctx context.Context, names []string) {
	about, err := e.info(ctx)
	if err != nil || about.CgroupVersion != "1" {
		return
	}
	for _, name := range names {
		out, err := e.run(ctx, "inspect", "--format", "{{.Id}} {{.Image}}", name)
		id, image, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
		if err != nil || !ok {
			continue
		}
		const script = `find /freezer -path "*$0*" -name freezer.state | while read -r f; do echo THAWED > "$f"; done`
		_, _ = e.run(ctx, "run", "--rm", "--privileged", "--network=none", "--volume", "/sys/fs/cgroup/freezer:/freezer",
			"--entrypoint", "sh", image, "-c", script, id)
	}
}
