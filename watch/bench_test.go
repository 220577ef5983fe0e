package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

// The figures that issue and documentation state. One command prints them all,
// each beside its aim:
//
//	go test ./watch -run '^$' -bench . -benchtime 1x
//
// What is measured of a whole process (memory, idle CPU) is measured in a
// process of its own: this binary again, see TestMain.

// A figure is one line of that table.
type figure struct {
	what  string
	unit  string
	value float64
	aim   float64 // not more than
}

var (
	figuresMu sync.Mutex
	figures   []figure
)

func figureOf(b *testing.B, what, unit string, value, aim float64) {
	b.Helper()
	b.ReportMetric(value, strings.ReplaceAll(what, " ", "-")+"-"+unit)
	figuresMu.Lock()
	defer figuresMu.Unlock()
	figures = append(figures, figure{what, unit, value, aim})
}

func TestMain(m *testing.M) {
	if root := os.Getenv("WATCH_BENCH_ROOT"); root != "" {
		if err := measure(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if len(figures) > 0 {
		fmt.Printf("\n%-58s %10s %10s\n", "figure", "measured", "aim")
		for _, f := range figures {
			reached := ""
			if f.value > f.aim {
				reached = "  NOT REACHED"
			}
			fmt.Printf("%-58s %7.1f %-3s %s %g%s\n", f.what, f.value, f.unit, "≤", f.aim, reached)
		}
	}
	os.Exit(code)
}

// BenchmarkSave is the time from the beginning of a save to its batch.
func BenchmarkSave(b *testing.B) {
	const saves = 300
	root := b.TempDir()
	for i := range 200 {
		put(b, root, fmt.Sprintf("src/%d/%d.go", i%10, i), "package p\n")
	}
	for b.Loop() {
		w, stop := start(b, Options{Root: root})
		var took []float64
		for i := range saves {
			p := fmt.Sprintf("src/%d/%d.go", i%10, i%200)
			time.Sleep(20 * time.Millisecond) // saves come one at a time
			began := time.Now()
			put(b, root, p, fmt.Sprint("package p // ", i, "\n"))
			for found := false; !found; {
				found = (<-w.Batches()).Changes[0].Path == p // not the second half of the save before, if that took long
			}
			took = append(took, ms(time.Since(began)))
		}
		stop()
		slices.Sort(took)
		figureOf(b, "save to batch, one file, p50", "ms", took[saves/2], 7)
		figureOf(b, "save to batch, one file, p95", "ms", took[saves*95/100], 15)
	}
}

// BenchmarkBurst writes 1,000 files within 200 ms: in place, since ext4 writes a file that
// was truncated to the disk when it is closed, which may take twice that time in all.
func BenchmarkBurst(b *testing.B) {
	const files = 1000
	root := b.TempDir()
	for i := range files {
		put(b, root, fmt.Sprintf("d%d/f%d", i%20, i), "old")
	}
	for b.Loop() {
		w, stop := start(b, Options{Root: root})
		var after, batches, writing []float64
		for round := range 10 {
			time.Sleep(700 * time.Millisecond) // until nothing of the last round is looked at again
			began := time.Now()
			text := []byte(fmt.Sprint("new ", round))
			done := make(chan time.Time, 1)
			go func() {
				for i := range files {
					if err := overwrite(filepath.Join(root, fmt.Sprintf("d%d/f%d", i%20, i)), text); err != nil {
						b.Error(err)
					}
					if ahead := time.Duration(i)*190*time.Microsecond - time.Since(began); ahead > 0 {
						time.Sleep(ahead)
					}
				}
				done <- time.Now()
			}()
			n, seen := 0, 0
			for seen < files {
				seen += len((<-w.Batches()).Changes)
				n++
			}
			at, written := time.Now(), <-done
			after = append(after, ms(at.Sub(written)))
			writing = append(writing, ms(written.Sub(began)))
			batches = append(batches, float64(n))
		}
		stop()
		slices.Sort(after)
		slices.Sort(batches)
		slices.Sort(writing)
		figureOf(b, "1,000 files in 200 ms: written in, median", "ms", writing[len(writing)/2], 200)
		figureOf(b, "1,000 files in 200 ms: batch after last write, median", "ms", after[len(after)/2], 30)
		figureOf(b, "1,000 files in 200 ms: batch after last write, worst", "ms", after[len(after)-1], 30)
		figureOf(b, "1,000 files in 200 ms: batches, median", "", batches[len(batches)/2], 1)
	}
}

// overwrite writes text over what the file begins with.
func overwrite(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// BenchmarkLongBurst writes without pause for two seconds.
func BenchmarkLongBurst(b *testing.B) {
	root := b.TempDir()
	for b.Loop() {
		w, stop := start(b, Options{Root: root})
		end := time.Now().Add(2 * time.Second)
		written := make(chan int, 1)
		go func() {
			n := 0
			for ; time.Now().Before(end); n++ {
				if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("f%d", n)), nil, 0o644); err != nil {
					b.Error(err)
				}
				time.Sleep(500 * time.Microsecond)
			}
			written <- n
		}()
		seen, batches := map[string]bool{}, 0
		want := -1
		for want < 0 || len(seen) < want {
			select {
			case batch := <-w.Batches():
				batches++
				for _, c := range batch.Changes {
					seen[c.Path] = true
				}
			case want = <-written:
			case <-time.After(10 * time.Second):
				b.Fatalf("%d of %d files", len(seen), want)
			}
		}
		stop()
		figureOf(b, fmt.Sprintf("2 s of writes, %d files: batches, none lost", want), "", float64(batches), 9)
	}
}

// BenchmarkTree2000 and BenchmarkTree20000 watch 200,000 files.
func BenchmarkTree2000(b *testing.B) {
	root := bigTree(b, 2_000, 200_000)
	for b.Loop() {
		m := child(b, root, 0)
		figureOf(b, "200,000 files, 2,000 directories: armed", "s", m.Armed, 0.5)
		figureOf(b, "200,000 files, 2,000 directories: rescan", "s", m.Rescan, 1.5)
	}
}

func BenchmarkTree20000(b *testing.B) {
	root := bigTree(b, 20_000, 200_000)
	for b.Loop() {
		m := child(b, root, 30*time.Second)
		figureOf(b, "200,000 files, 20,000 directories: armed", "s", m.Armed, 3)
		figureOf(b, "200,000 files, 20,000 directories: RSS", "MB", m.RSS, 120)
		figureOf(b, "200,000 files, 20,000 directories: idle CPU over 30 s", "%", m.Idle, 0.5)
		figureOf(b, "200,000 files, 20,000 directories: inotify instances", "", float64(m.Instances), 1)
		figureOf(b, "200,000 files, 20,000 directories: full rescan", "s", m.Rescan, 1.5)
		figureOf(b, "200,000 files, 20,000 directories: RSS after rescans", "MB", m.RSSAfter, 120)
		figureOf(b, "writer in node_modules, .git and a log: batches in 5 s", "", float64(m.Wakeups), 0)
		figureOf(b, "writer in node_modules, .git and a log: CPU", "%", m.Hammered, 100)
	}
}

// measured is what the child process prints.
type measured struct {
	Armed, Filled, RSS, RSSAfter, Idle, Rescan, Hammered float64
	Instances, Wakeups                                   int
}

func child(b *testing.B, root string, idle time.Duration) measured {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WATCH_BENCH_ROOT="+root, "WATCH_BENCH_IDLE="+idle.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var m measured
	if err := json.Unmarshal(out, &m); err != nil {
		b.Fatal(err)
	}
	return m
}

// measure is the child's main.
func measure(root string) error {
	var m measured
	idle, err := time.ParseDuration(os.Getenv("WATCH_BENCH_IDLE"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	w, err := New(Options{Root: root})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-w.Armed():
	case err := <-ended:
		return err
	}
	m.Armed = time.Since(began).Seconds()
	<-w.filled
	m.Filled = time.Since(began).Seconds()
	var wakeups atomic.Int64
	var counting sync.WaitGroup
	counting.Go(func() {
		for range w.Batches() {
			wakeups.Add(1)
		}
	})
	m.Instances = instances()
	if idle > 0 {
		time.Sleep(2 * time.Second)
		cpu := cpuTime()
		time.Sleep(idle)
		m.Idle = 100 * (cpuTime() - cpu).Seconds() / idle.Seconds()
		m.RSS = rss()
		before := wakeups.Load()
		m.Hammered = hammer(root, 5*time.Second)
		m.Wakeups = int(wakeups.Load() - before)
	}
	for range 3 {
		before := w.index.Len()
		took := rescan(w)
		if m.Rescan == 0 || took < m.Rescan {
			m.Rescan = took
		}
		if w.index.Len() != before {
			return fmt.Errorf("the index had %d entries, now %d", before, w.index.Len())
		}
	}
	m.RSSAfter = rss()
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	counting.Wait()
	return json.NewEncoder(os.Stdout).Encode(m)
}

// rescan makes the watcher doubt its events and waits until it has compared.
func rescan(w *Watcher) float64 {
	began := time.Now()
	w.intake.uncertain("benchmark")
	for n := range w.Notices() {
		if n.Code == "watch-rescan" {
			break
		}
	}
	return time.Since(began).Seconds()
}

// hammer writes to what is ignored, and returns this process's CPU use, the
// writer's not included: that is another process.
func hammer(root string, d time.Duration) float64 {
	cmd := exec.Command("sh", "-c", `while :; do
		for i in 1 2 3 4 5 6 7 8 9; do echo $i >> node_modules/p/$i; echo $i >> .git/x$i; echo line >> app.log; done; done`)
	cmd.Dir = root
	if err := cmd.Start(); err != nil {
		return -1
	}
	cpu := cpuTime()
	time.Sleep(d)
	used := cpuTime() - cpu
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return 100 * used.Seconds() / d.Seconds()
}

func bigTree(b *testing.B, dirs, files int) string {
	b.Helper()
	root := b.TempDir()
	for i := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("pkg%d/mod%d/part%d", i%20, i/20%100, i/2000))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range files / dirs {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d.ts", j)), []byte("export {}\n"), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	put(b, root, ".gitignore", "node_modules\n*.log\n*.tmp\nbuild/\n!keep.log\n/coverage\n")
	put(b, root, "node_modules/p/1", "")
	put(b, root, ".git/HEAD", "ref: refs/heads/main\n")
	put(b, root, "app.log", "")
	return root
}

func start(b *testing.B, o Options) (*Watcher, func()) {
	b.Helper()
	x, err := tree.Open(o.Root)
	if err != nil {
		b.Fatal(err)
	}
	o.Index = x
	w, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-w.Armed()
	return w, func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// rss, cpuTime and instances read /proc, where there is one.
func rss() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return float64(memory()) / 1e6
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}

func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

func cpuTime() time.Duration {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// Fields 14 and 15, counted after the command's closing parenthesis, in ticks of 10 ms.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func instances() int {
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return -1
	}
	n := 0
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.Contains(to, "inotify") {
			n++
		}
	}
	return n
}
