package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// file measures 55,000 lines from a kubelet to a file.
func (w *world) file(ctx context.Context) error {
	const n = 55_000
	script := fmt.Sprintf(`perl -e 'for my $n (1 .. %d) { printf("%%-100s\n", "line $n of a log as a program writes it, about one hundred bytes of it") }'; sleep 100000`, n)
	if err := w.pod(ctx, "talk", script, 1); err != nil {
		return err
	}
	if err := w.await(ctx, allRun(1)); err != nil {
		return err
	}
	f, err := w.follow(ctx, "talk", "-o", "raw", "--until", fmt.Sprintf("line %d ", n))
	if err != nil {
		return err
	}
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("wait for the lines: %w: %s", err, f.err.String())
	}
	flags := []string{"--kubeconfig", w.config, "-n", w.namespace, "talk", "--no-follow", "--only-log-lines", "--color=never"}
	rounds := max(w.b.rounds, 7)
	kubectl, err := fastest(ctx, rounds, w.dir, "kubectl", "--kubeconfig", w.config, "-n", w.namespace, "logs", "talk")
	if err != nil {
		return err
	}
	kdev, err := fastest(ctx, rounds, w.dir, w.b.kdev, append([]string{"logs"}, flags...)...)
	if err != nil {
		return err
	}
	stern, err := fastest(ctx, rounds, w.dir, "stern", flags...)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("cluster, %d lines to a file: ", n)
	w.b.add(figure{Name: what + "kubectl logs, wall", Value: kubectl.wall.Seconds(), Unit: "s"})
	w.b.add(figure{Name: what + "kdev logs, wall", Value: kdev.wall.Seconds(), Unit: "s"})
	if kubectl.wall > 0 {
		w.b.add(figure{Name: what + "kdev's wall time over kubectl's", Value: kdev.wall.Seconds() / kubectl.wall.Seconds(), Unit: "times", Aim: 1.1})
	}
	w.b.add(figure{Name: what + "kdev logs, user CPU", Value: kdev.user.Seconds(), Unit: "s"})
	if stern.wall > 0 {
		w.b.add(figure{Name: what + "stern, wall", Value: stern.wall.Seconds(), Unit: "s"})
		w.b.add(figure{Name: what + "stern, user CPU", Value: stern.user.Seconds(), Unit: "s"})
		w.b.add(figure{Name: what + "kdev's user CPU over stern's", Value: kdev.user.Seconds() / stern.user.Seconds(), Unit: "times", Aim: 0.5})
	}
	return nil
}

// open measures from the start of the process until a line of every container is on
// standard output.
func (w *world) open(ctx context.Context) error {
	const pods, each = 50, 4
	for i := range pods {
		if err := w.pod(ctx, fmt.Sprintf("many-%d", i), "echo hello; exec sleep 100000", each); err != nil {
			return err
		}
	}
	if err := w.await(ctx, allRun(pods)); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		args []string
		n    int
		aim  float64
	}{{"50 containers of 50 pods", []string{"-c", "^c0$"}, pods, 1}, {"200 containers of 50 pods", nil, pods * each, 3}} {
		var times []float64
		for range w.b.rounds {
			start := time.Now()
			f, err := w.follow(ctx, append([]string{".", "--only-log-lines"}, kind.args...)...)
			if err != nil {
				return err
			}
			err = f.until(ctx, func(lines []string) bool { return len(lines) == kind.n })
			times = append(times, time.Since(start).Seconds())
			f.stop()
			if err != nil {
				return fmt.Errorf("%w: %s", err, f.err.String())
			}
		}
		w.b.add(figure{Name: "cluster, " + kind.name + ": from the start to a line of each, median", Value: quantile(times, 0.5), Unit: "s", Aim: kind.aim})
		w.b.add(figure{Name: "cluster, " + kind.name + ": the fastest", Value: quantile(times, 0), Unit: "s"})
	}
	return nil
}

// first measures from the moment at which a new container writes its first line, as the
// runtime stamps it, until it is on standard output. The floor is somebody who asks the
// API for the log without a pause from the pod's creation on: the kubelet does not
// serve a log before its own status knows the container, which it looks for once a second.
func (w *world) first(ctx context.Context) error {
	f, err := w.follow(ctx, ".", "-t", "--only-log-lines")
	if err != nil {
		return err
	}
	defer f.stop()
	var delays, floors []float64
	for i := range 20 {
		name := fmt.Sprintf("new-%d", i)
		if err := w.pod(ctx, name, "echo first; exec sleep 100000", 1); err != nil {
			return err
		}
		floor := make(chan time.Time, 1)
		go func() { floor <- w.served(ctx, name) }()
		if err := f.until(ctx, func(lines []string) bool { return len(lines) > i }); err != nil {
			return fmt.Errorf("%w: %s", err, f.err.String())
		}
		lines, at := f.all()
		stamp, err := time.Parse(time.RFC3339Nano, strings.Fields(lines[i])[2])
		if err != nil {
			return err
		}
		delays = append(delays, at[lines[i]].Sub(stamp).Seconds()*1000)
		floors = append(floors, (<-floor).Sub(stamp).Seconds()*1000)
	}
	var added []float64
	for i := range delays {
		added = append(added, delays[i]-floors[i])
	}
	w.b.add(figure{Name: "cluster, a new pod's first line: after it was written, median", Value: quantile(delays, 0.5), Unit: "ms", Aim: 300})
	w.b.add(figure{Name: "cluster, a new pod's first line: after it was written, longest of 20", Value: quantile(delays, 1), Unit: "ms", Aim: 300})
	w.b.add(figure{Name: "cluster, a new pod's first line: floor of the log API, median", Value: quantile(floors, 0.5), Unit: "ms"})
	w.b.add(figure{Name: "cluster, a new pod's first line: floor of the log API, longest", Value: quantile(floors, 1), Unit: "ms"})
	w.b.add(figure{Name: "cluster, a new pod's first line: beyond the floor, median", Value: quantile(added, 0.5), Unit: "ms"})
	return nil
}

// served asks for a pod's log until there is a line.
func (w *world) served(ctx context.Context, pod string) time.Time {
	for ctx.Err() == nil {
		b, err := w.client.Core.CoreV1().Pods(w.namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err == nil && len(b) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Now()
}

// latency measures from the runtime's stamp of a line to standard output, beside a
// stream of the API that is read directly.
func (w *world) latency(ctx context.Context) error {
	const n = 1000
	script := fmt.Sprintf(`sleep 3; perl -e '$| = 1; for my $n (1 .. %d) { print "tick $n\n"; select(undef, undef, undef, 0.02) }'; sleep 100000`, n)
	if err := w.pod(ctx, "tick", script, 1); err != nil {
		return err
	}
	if err := w.await(ctx, allRun(1)); err != nil {
		return err
	}
	f, err := w.follow(ctx, ".", "-t", "--only-log-lines")
	if err != nil {
		return err
	}
	defer f.stop()
	direct := map[string]time.Time{}
	var reading sync.WaitGroup
	var failed error
	reading.Go(func() {
		body, err := w.client.Core.CoreV1().Pods(w.namespace).GetLogs("tick", &corev1.PodLogOptions{Follow: true}).Stream(ctx)
		if err != nil {
			failed = err
			return
		}
		defer body.Close()
		for r := bufio.NewReader(body); len(direct) < n; {
			line, err := r.ReadString('\n')
			if err != nil {
				if !errors.Is(err, io.EOF) {
					failed = err
				}
				return
			}
			direct[strings.TrimSpace(line)] = time.Now()
		}
	})
	if err := f.until(ctx, func(lines []string) bool { return len(lines) >= n }); err != nil {
		return fmt.Errorf("%w: %s", err, f.err.String())
	}
	reading.Wait()
	if failed != nil {
		return failed
	}
	var whole, floor, added []float64
	lines, at := f.all()
	for _, line := range lines {
		fields := strings.SplitN(line, " ", 4)
		stamp, err := time.Parse(time.RFC3339Nano, fields[2])
		if err != nil {
			return err
		}
		here := at[line].Sub(stamp).Seconds() * 1000
		raw := direct[fields[3]].Sub(stamp).Seconds() * 1000
		whole, floor, added = append(whole, here), append(floor, raw), append(added, max(0, here-raw))
	}
	w.b.add(figure{Name: "cluster, pod to stdout: p50", Value: quantile(whole, 0.5), Unit: "ms"})
	w.b.add(figure{Name: "cluster, pod to stdout: p99", Value: quantile(whole, 0.99), Unit: "ms"})
	w.b.add(figure{Name: "cluster, pod to a plain stream of the API: p99", Value: quantile(floor, 0.99), Unit: "ms"})
	w.b.add(figure{Name: "cluster, pod to stdout: what kdev adds to that stream, line by line, p99", Value: quantile(added, 0.99), Unit: "ms", Aim: 20})
	return nil
}
