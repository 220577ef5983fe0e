// Package engine gives a bare Debian machine a Docker engine that can run kind's nodes.
//
// In: this machine. Out: an engine that answers, or a problem that names its log. It installs and starts one only where none
// answers, never stops one, and changes of a configuration only keys that are not set. An engine that it starts survives it.
package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/caps"
	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/step"
	"github.com/kdev-io/kdev/internal/problem"
)

const (
	area = "engine"
	// wrapper is where the runtime stays: the engine needs it as long as it runs, whatever becomes of the cache.
	wrapper    = "/usr/local/libexec/kdev/runcaps"
	daemonJSON = "/etc/docker/daemon.json"
	localHost  = "unix:///var/run/docker.sock"
)

// An Engine is the machine's Docker engine.
type Engine struct {
	Log    *step.Log
	Source string // the root of kdev's sources
}

// Ensure makes an engine answer.
func (e *Engine) Ensure(ctx context.Context) error {
	if info, err := docker.Ask(ctx); err == nil {
		if err := e.Log.Do(area, "answers: Docker "+info.ServerVersion, func() (string, error) { return step.Cached, nil }); err != nil {
			return err
		}
		e.judge(info)
		return e.inotify()
	}
	if host := docker.Host(ctx); host != "" && host != localHost {
		return &problem.Problem{
			Code: "offline-engine", Summary: "no Docker engine answers at " + host,
			Hint: "start that engine, or unset DOCKER_HOST and run `docker context use default` to get one on this machine",
		}
	}
	if err := step.NeedRoot("installing and starting a Docker engine"); err != nil {
		return err
	}
	if err := e.install(ctx); err != nil {
		return err
	}
	if err := e.configure(ctx); err != nil {
		return err
	}
	if err := e.inotify(); err != nil {
		return err
	}
	return e.start(ctx)
}

// install gets Debian's engine where there is none.
func (e *Engine) install(ctx context.Context) error {
	if lookDaemon() != "" && onPath("docker") && onPath("iptables") {
		return nil
	}
	return e.Log.Do(area, "installing docker.io", func() (string, error) { return "", Apt(ctx, "docker.io", "iptables") })
}

// Apt installs Debian packages on this machine; the lists are fetched only when it does not go without.
func Apt(ctx context.Context, packages ...string) error {
	if !onPath("apt-get") {
		return &problem.Problem{
			Code: "offline-debian", Summary: "this machine has no apt-get", Hint: "install " + strings.Join(packages, ", ") + " by hand",
		}
	}
	install := step.Command{
		Args: append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, packages...),
		Env:  []string{"DEBIAN_FRONTEND=noninteractive"},
		Hint: "see that `apt-get update` works on this machine",
	}
	if err := step.Run(ctx, install); err == nil || step.Interrupted(err) {
		return err
	}
	if err := step.Run(ctx, step.Command{Args: []string{"apt-get", "update"}, Hint: install.Hint}); err != nil {
		return err
	}
	return step.Run(ctx, install)
}

// configure registers the runtime wrapper where runc alone could not start a privileged container.
func (e *Engine) configure(ctx context.Context) error {
	absent, err := caps.Missing()
	if err != nil || len(absent) == 0 {
		return err
	}
	if err := e.Log.Do(area, "runtime without "+strings.Join(absent, ", "), func() (string, error) {
		return "", e.installWrapper(ctx)
	}); err != nil {
		return err
	}
	old, err := os.ReadFile(daemonJSON)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	text, changes, kept, err := merge(old, "runcaps", wrapper)
	if err != nil {
		return &problem.Problem{
			Code: "offline-engine", Summary: "cannot read the engine's configuration", Where: daemonJSON, Err: err,
			Hint: "correct the file, or move it away",
		}
	}
	for _, k := range kept {
		e.Log.Say(area, daemonJSON+": "+k)
	}
	if len(changes) == 0 {
		return nil
	}
	if err := replace(daemonJSON, text, 0o644); err != nil {
		return err
	}
	e.Log.Say(area, daemonJSON+": set "+strings.Join(changes, ", "))
	return nil
}

// installWrapper compiles runcaps and puts it where the engine finds it.
func (e *Engine) installWrapper(ctx context.Context) error {
	temp, err := os.MkdirTemp("", "runcaps")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	built := filepath.Join(temp, "runcaps")
	if err := step.Run(ctx, step.Command{
		Args: []string{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, "./hack/runcaps"}, Dir: e.Source, Env: []string{"CGO_ENABLED=0"},
	}); err != nil {
		return err
	}
	text, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(wrapper), 0o755); err != nil {
		return err
	}
	return replace(wrapper, text, 0o755)
}

// replace writes a file that others may be reading or executing.
func replace(file string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	next := file + ".new"
	if err := os.WriteFile(next, text, mode); err != nil {
		return err
	}
	return os.Rename(next, file)
}

// judge says what an engine that was already there will not be able to do. Such an engine is not ours to restart.
func (e *Engine) judge(info docker.Info) {
	absent, err := caps.Missing()
	if err != nil || len(absent) == 0 {
		return
	}
	if _, registered := info.Runtimes["runcaps"]; !registered && info.DefaultRuntime == "runc" {
		e.Log.Say(area, "this machine lacks "+strings.Join(absent, ", ")+": nodes will not start unless the engine is stopped and started by this command")
	}
}

// lookDaemon finds dockerd, which Debian keeps in a folder that not every PATH holds.
func lookDaemon() string {
	for _, name := range []string{"dockerd", "/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func onPath(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func (e *Engine) inotify() error {
	changed, err := raise("/proc/sys/fs/inotify", map[string]int{"max_user_instances": 8192, "max_user_watches": 524288}, map[string]int{"max_user_instances": 512, "max_user_watches": 65536})
	for _, c := range changed {
		e.Log.Say(area, "fs.inotify."+c)
	}
	if err != nil {
		e.Log.Say(area, fmt.Sprintf("%v: nodes may run out of watches; as root: sysctl -w fs.inotify.max_user_instances=8192", err))
	}
	return nil
}
