package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A view is a container, seen through one of its processes.
type view struct {
	pid  int
	root string // /proc/PID/root
}

// views finds the containers whose processes carry a variable, by their lowest
// process: the agent.
func views(mark string) ([]view, error) {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	first := map[string]int{} // mount namespace: process
	for _, proc := range procs {
		env, err := os.ReadFile(proc + "/environ")
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), mark) {
			continue
		}
		mounts, err := os.Readlink(proc + "/ns/mnt")
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			continue
		}
		if old, ok := first[mounts]; !ok || pid < old {
			first[mounts] = pid
		}
	}
	var all []view
	for _, pid := range first {
		all = append(all, view{pid, fmt.Sprintf("/proc/%d/root", pid)})
	}
	return all, nil
}

// find is views for a service that has n containers.
func (p *project) find(service string, n int) ([]view, error) {
	all, err := views(p.mark(service))
	if err == nil && len(all) != n {
		err = fmt.Errorf("%d containers of %s are running, want %d", len(all), service, n)
	}
	return all, err
}

// mark is the variable of a service's containers.
func (p *project) mark(service string) string { return "KDEV_BENCH=" + p.name + "-" + service }

// begins says whether a file of the container has that size and begins with
// head.
func (v view) begins(path, head string, size int) bool {
	f, err := os.Open(v.root + path)
	if err != nil {
		return false
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != int64(size) {
		return false
	}
	got := make([]byte, len(head))
	if _, err := io.ReadFull(f, got); err != nil {
		return false
	}
	return string(got) == head
}

// pause is the time between two looks: a loop without one would take a core
// from what is measured.
const pause = 300 * time.Microsecond

// until looks again and again.
func until(ctx context.Context, what string, ok func() bool) error { return ask(ctx, what, pause, ok) }

// ask is until with a pause of its own.
func ask(ctx context.Context, what string, every time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s was not seen: %w", what, ctx.Err())
		}
	}
	return nil
}

// memory is a process's peak and its present anonymous memory, in MB. The
// second bounds a Go program's heap from above.
func (v view) memory() (peak, anonymous float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64) // of other lines no number is wanted
		switch f[0] {
		case "VmHWM:":
			peak = kb / 1024
		case "RssAnon:":
			anonymous = kb / 1024
		}
	}
	return peak, anonymous, nil
}

// cpu is the time that a process has used.
func (v view) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.pid))
	if err != nil {
		return 0, err
	}
	// After the name, which may hold anything; utime and stime in 10 ms (proc(5)).
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat holds %q", v.pid, text)
	}
	user, err := strconv.Atoi(f[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}
