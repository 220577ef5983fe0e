//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var (
	soak      = flag.Duration("soak", time.Minute, "how long TestSoak writes")
	soakPods  = flag.Int("soak-pods", 20, "how many containers write")
	soakRate  = flag.Int("soak-rate", 1000, "how many lines each writes in a second")
	besides   = flag.Int("soak-beside", 20, "how many of them are read beside as `kubectl logs -f` reads them")
	soakBytes = int64(100 << 20) // the most memory that the process may ever hold
)

// A tally is which of the lines 1 to n of each container came, and whether they came once
// and in order.
type tally struct {
	mu    sync.Mutex
	seen  map[string][]bool
	last  map[string]int
	total int
	wrong []string // doubled, or out of order
}

func newTally() *tally { return &tally{seen: map[string][]bool{}, last: map[string]int{}} }

// add counts a line that holds "line N of POD".
func (c *tally) add(line string) {
	at := strings.Index(line, "line ")
	if at < 0 {
		return
	}
	number, rest, _ := strings.Cut(line[at+len("line "):], " of ")
	n, err := strconv.Atoi(number)
	pod, _, _ := strings.Cut(rest, " ")
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || n < 1 || n > 1<<24 {
		c.wrong = append(c.wrong, fmt.Sprintf("not a line that was written: %.80q", line))
		return
	}
	for n >= len(c.seen[pod]) {
		c.seen[pod] = append(c.seen[pod], make([]bool, n+4096)...)
	}
	if n <= c.last[pod] && len(c.wrong) < 100 {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: line %d behind line %d (seen before: %v)", pod, n, c.last[pod], c.seen[pod][n]))
	}
	c.seen[pod][n], c.last[pod] = true, n
	c.total++
}

func (c *tally) has(pod string, n int) bool {
	return n < len(c.seen[pod]) && c.seen[pod][n]
}

// Containers that write a thousand lines a second each are followed for a minute (make
// soak-logs: ten). Each line's number says what is missing, doubled or misplaced.
// Streams of the API that are read beside it say what the kubelet itself lost, which
// it may when it rotates a log: every line that they saw has to be there.
func TestSoak(t *testing.T) {
	ns := newNamespace(t)
	count := int(soak.Seconds()) * *soakRate
	shown, direct := newTally(), newTally()

	dir := t.TempDir()
	cmd := exec.Command(binary, "logs", "-n", ns, ".")
	cmd.Dir, cmd.Env = dir, environment(dir)
	errs := &buffer{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	read := make(chan error, 1)
	go func() { read <- eachLine(out, shown.add) }()

	pods := make([]string, *soakPods)
	for i := range pods {
		pods[i] = fmt.Sprintf("soak-%02d", i)
		makePod(t, ns, pods[i], podSpec(container("app", steady(count, *soakRate, 120))))
	}
	awaitPods(t, ns, "all run", allRun(len(pods)))
	ctx, cancel := context.WithTimeout(t.Context(), *soak+patience)
	defer cancel()
	var beside sync.WaitGroup
	for _, pod := range pods[:min(*besides, len(pods))] {
		beside.Go(func() { readDirectly(ctx, t, ns, pod, count, direct) })
	}
	memory := watchMemory(ctx, cmd.Process.Pid)

	complete := func() bool {
		shown.mu.Lock()
		defer shown.mu.Unlock()
		for _, pod := range pods {
			if shown.last[pod] < count {
				return false
			}
		}
		return true
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !complete() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %v the last lines have not come: %v\n%s", *soak+patience, shown.last, errs)
		}
	}
	beside.Wait()
	samples := memory()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	<-read

	for _, w := range append(shown.wrong, direct.wrong...) {
		t.Error(w)
	}
	lost, kubelet := 0, 0
	for _, pod := range pods {
		for n := 1; n <= count; n++ {
			switch {
			case shown.has(pod, n):
			case direct.has(pod, n):
				lost++
				if lost < 20 {
					t.Errorf("%s: line %d is missing, and a stream beside had it", pod, n)
				}
			default:
				kubelet++
			}
		}
	}
	t.Logf("%d lines of %d containers; %d missing, %d that the kubelet gave nobody", shown.total, len(pods), lost, kubelet)
	// A container writes 10 MiB, at which the kubelet rotates, in more than a minute.
	if kubelet > 0 && *soak <= time.Minute {
		t.Errorf("%d lines came to nobody, and nothing was rotated", kubelet)
	}
	judgeMemory(t, samples)
}

func eachLine(r io.Reader, fn func(string)) error {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		fn(line)
	}
}

// readDirectly is `kubectl logs -f`, which opens the log again when its stream ends
// before the last line came.
func readDirectly(ctx context.Context, t *testing.T, ns, pod string, count int, c *tally) {
	body, err := client.Core.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		t.Errorf("%s: %v", pod, err)
		return
	}
	defer body.Close()
	last := fmt.Sprintf("line %d of ", count)
	_ = eachLine(body, func(line string) {
		c.add(line)
		if strings.HasPrefix(line, last) {
			_ = body.Close()
		}
	})
}

// resident is the resident memory of a process in bytes: its own, and pages of files.
type resident struct{ own, file int64 }

func (r resident) all() int64 { return r.own + r.file }

// watchMemory notes the memory of a process every second; the function that it returns
// ends that.
func watchMemory(ctx context.Context, pid int) (end func() []resident) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []resident, 1)
	go func() {
		var samples []resident
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm")); err == nil {
					var size, all, file int64
					if _, err := fmt.Sscan(string(b), &size, &all, &file); err == nil {
						page := int64(os.Getpagesize())
						samples = append(samples, resident{own: (all - file) * page, file: file * page})
					}
				}
			case <-ctx.Done():
				done <- samples
				return
			}
		}
	}()
	return func() []resident {
		cancel()
		return <-done
	}
}

// judgeMemory wants the memory bounded, and not growing: its mean over the last third is
// at most a tenth above that of the second.
func judgeMemory(t *testing.T, samples []resident) {
	t.Helper()
	if len(samples) < 9 {
		t.Fatalf("only %d samples of the memory", len(samples))
	}
	most := resident{}
	for _, s := range samples {
		if s.all() > most.all() {
			most = s
		}
	}
	third := len(samples) / 3
	second, last := mean(samples[third:2*third]), mean(samples[2*third:])
	t.Logf("memory: at most %d MB, of which %d MB are pages of files; second third %d MB, last third %d MB",
		most.all()>>20, most.file>>20, second>>20, last>>20)
	if most.all() > soakBytes {
		t.Errorf("the process held %d MB", most.all()>>20)
	}
	if last > second+second/10 {
		t.Errorf("the memory grows: %d MB, then %d MB", second>>20, last>>20)
	}
}

func mean(v []resident) int64 {
	sum := int64(0)
	for _, x := range v {
		sum += x.all()
	}
	return sum / int64(len(v))
}
