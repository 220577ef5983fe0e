package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/step"
	"github.com/kdev-io/kdev/internal/problem"
)

const (
	logFile = "/var/log/kdev-dockerd.log"
	pidFile = "/var/run/docker.pid"
	// startWithin is long: an engine with many containers restores them before it answers.
	startWithin = 90 * time.Second
)

// start starts the installed engine, through systemd where that runs the machine, by hand elsewhere.
func (e *Engine) start(ctx context.Context) error {
	return e.Log.Do(area, "starting", func() (string, error) {
		if _, err := os.Stat("/run/systemd/system"); err == nil {
			if err := step.Run(ctx, step.Command{Args: []string{"systemctl", "restart", "docker"}, Hint: "see: journalctl -u docker"}); err != nil {
				return "", err
			}
			return answer(ctx, nil, "journalctl -u docker", 0)
		}
		if note, ok := settle(ctx); ok || ctx.Err() != nil {
			return note, ctx.Err()
		}
		stale(pidFile, "dockerd")
		stale("/var/run/docker/containerd/containerd.pid", "containerd")
		said, _ := os.Stat(logFile)
		var before int64
		if said != nil {
			before = said.Size()
		}
		exited, err := daemon(lookDaemon(), logFile)
		if err != nil {
			return "", err
		}
		return answer(ctx, exited, logFile, before)
	})
}

// settle waits for an engine that runs and does not answer, because it starts or stops at this moment. It returns true
// when it came to answer, false when it is gone or hangs.
func settle(ctx context.Context) (note string, ok bool) {
	for limit := time.Now().Add(startWithin); time.Now().Before(limit) && ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		pid, err := os.ReadFile(pidFile)
		if err != nil || !runs(strings.TrimSpace(string(pid)), "dockerd") {
			return "", false
		}
		if info, err := docker.Ask(ctx); err == nil {
			return "Docker " + info.ServerVersion + ", which was starting", true
		}
	}
	return "", false
}

// daemon starts the engine as nohup and setsid would: it has a session of its own, and its output goes to a file.
func daemon(path, log string) (exited <-chan error, err error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening the engine's log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(path)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The wrapper looks for runc, and the engine for its helpers, in folders that a user's PATH may lack.
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the engine: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the engine or with this process, whichever is first
	return done, nil
}

// answer waits until the engine answers or is gone.
func answer(ctx context.Context, exited <-chan error, log string, before int64) (string, error) {
	limit := time.After(startWithin)
	for {
		if info, err := docker.Ask(ctx); err == nil {
			return "Docker " + info.ServerVersion + ", log " + log, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case err := <-exited:
			return "", &problem.Problem{
				Code: "offline-engine", Summary: "the Docker engine ended while it started", Err: err, Output: end(log, before), Hint: "the whole log: " + log,
			}
		case <-limit:
			return "", &problem.Problem{
				Code: "offline-engine", Summary: fmt.Sprintf("the Docker engine does not answer after %s", startWithin), Output: end(log, before),
				Hint: "the whole log: " + log,
			}
		case <-time.After(200 * time.Millisecond): // the socket has no event to wait for
		}
	}
}

// end is the last lines of a file, of what was written after its first bytes.
func end(file string, before int64) string {
	text, _ := os.ReadFile(file)
	text = text[min(before, int64(len(text))):]
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// stale removes a pid file whose process does not run program. A killed engine leaves its file behind, and a machine that
// was restarted has given the number to somebody else; dockerd only asks whether the number is taken.
func stale(file, program string) {
	text, err := os.ReadFile(file)
	if err != nil || runs(strings.TrimSpace(string(text)), program) {
		return
	}
	os.Remove(file)
}

// runs tells whether the process with that number is program and alive. A machine whose first process reaps nobody keeps
// the dead in its table, under their names, for ever.
func runs(pid, program string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat")) // "123 (dockerd) S …"
	if err != nil || pid == "" {
		return false
	}
	rest, ok := strings.CutPrefix(string(stat), pid+" ("+program+") ")
	return ok && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// raise sets the limits in folder that are below least to want, and says which.
func raise(folder string, want, least map[string]int) (changed []string, err error) {
	for name, value := range want {
		file := filepath.Join(folder, name)
		text, readErr := os.ReadFile(file)
		if readErr != nil {
			continue
		}
		now, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		if now >= least[name] {
			continue
		}
		if writeErr := os.WriteFile(file, []byte(strconv.Itoa(value)), 0o644); writeErr != nil {
			err = fmt.Errorf("raising %s from %d: %w", name, now, writeErr)
			continue
		}
		changed = append(changed, fmt.Sprintf("%s: %d -> %d", name, now, value))
	}
	return changed, err
}
