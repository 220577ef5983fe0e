package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/testkube"
)

// peers lets kdev, stern and kubectl write the same lines of the same fake API server
// to a file.
func (b *bench) peers(ctx context.Context) error {
	server := testkube.Start()
	defer server.Close()
	if err := server.Put(testkube.Pod("default", podName, "web")); err != nil {
		return err
	}
	log := server.Log("default", podName, "web")
	log.Preload(lines(b.lines))
	log.End()
	dir, err := os.MkdirTemp("", "benchlogs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config, err := server.Kubeconfig(dir, "fake", "default")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	floor, err := fastest(ctx, b.rounds, dir, self, "-drain", config)
	if err != nil {
		return err
	}
	b.add(figure{Name: "fake server, floor: the stream read and dropped, wall", Value: floor.wall.Seconds(), Unit: "s"})
	b.add(figure{Name: "fake server, floor: the stream read and dropped, CPU", Value: floor.cpu().Seconds(), Unit: "s"})
	flags := []string{"--kubeconfig", config, "web", "--no-follow", "--only-log-lines", "--color=never", "--since=876000h"}
	for _, kind := range []struct {
		name string
		aim  float64
		more []string
	}{{"default output", 5, nil}, {"-i ERROR", 20, []string{"-i", "ERROR"}}, {"-i 'status=5..'", 20, []string{"-i", "status=5.."}}, {"-i request, which all lines hold", 20, []string{"-i", "request"}}} {
		args := append(slices.Clone(flags), kind.more...)
		runs := map[string]run{}
		for _, tool := range []struct {
			name, path string
			args       []string
		}{
			{"kdev", b.kdev, append([]string{"logs"}, args...)},
			{"stern", "stern", args},
			{"kubectl", "kubectl", []string{"--kubeconfig", config, "logs", podName, "--timestamps"}},
		} {
			if tool.name == "kubectl" && kind.more != nil {
				continue
			}
			if runs[tool.name], err = fastest(ctx, b.rounds, dir, tool.path, tool.args...); err != nil {
				return err
			}
			if r := runs[tool.name]; r.wall > 0 {
				b.add(figure{Name: "fake server, " + kind.name + ": " + tool.name + ", wall", Value: r.wall.Seconds(), Unit: "s"})
				b.add(figure{Name: "fake server, " + kind.name + ": " + tool.name + ", CPU", Value: r.cpu().Seconds(), Unit: "s"})
			}
		}
		if stern := runs["stern"]; stern.wall > 0 {
			b.add(figure{Name: "fake server, " + kind.name + ": stern's wall time over kdev's", Value: stern.wall.Seconds() / runs["kdev"].wall.Seconds(), Unit: "times", Aim: kind.aim, Least: true})
			b.add(figure{Name: "fake server, " + kind.name + ": stern's CPU time over kdev's", Value: stern.cpu().Seconds() / runs["kdev"].cpu().Seconds(), Unit: "times", Aim: kind.aim, Least: true})
		}
	}
	return nil
}

// drain is what any client of the API has to do: open the log, decrypt it, read it.
func drain(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	log, err := client.CoreV1().Pods("default").GetLogs(podName, &corev1.PodLogOptions{Timestamps: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = io.Copy(io.Discard, log)
	return err
}

// A run is what one run of a command took.
type run struct {
	wall, user, system time.Duration
	bytes              int64
}

func (r run) cpu() time.Duration { return r.user + r.system }

// fastest runs a command some times, its output to a file, and returns the least of
// each time; nothing when it is not on the PATH.
func fastest(ctx context.Context, rounds int, dir, name string, args ...string) (best run, err error) {
	path, err := exec.LookPath(name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s is not on the PATH\n", name)
		return run{}, nil
	}
	for i := range rounds {
		r, err := once(ctx, dir, path, args)
		if err != nil {
			return best, fmt.Errorf("%s: %w", name, err)
		}
		if i == 0 {
			best = r
		}
		best.wall, best.user, best.system = min(best.wall, r.wall), min(best.user, r.user), min(best.system, r.system)
		if r.bytes != best.bytes {
			return best, fmt.Errorf("%s wrote %d bytes, then %d", name, best.bytes, r.bytes)
		}
	}
	return best, nil
}

func once(ctx context.Context, dir, path string, args []string) (run, error) {
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return run{}, err
	}
	defer out.Close()
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, &errs, dir
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return run{}, fmt.Errorf("%w: %s", err, errs.String())
	}
	wall := time.Since(start)
	size, err := out.Seek(0, 2)
	return run{wall, cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime(), size}, err
}

// quantile is the value below which the share q of the values lies.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
