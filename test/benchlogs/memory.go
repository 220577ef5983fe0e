package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/source"
)

const podName = "web-5d9c7bd6f8-x2x4j"

// lines makes messages of 120 bytes behind their times; one in a hundred is an error, all
// hold "request".
func lines(n int) []byte {
	var b bytes.Buffer
	at := time.Date(2020, 11, 21, 4, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(13 * time.Microsecond)
		word, status := "INFO", 200
		if i%100 == 0 {
			word, status = "ERROR", 503
		}
		msg := fmt.Sprintf("%s request %08d handled path=/api/v1/items/%d status=%d duration=12.5ms client=10.244.0.%d agent=curl/8.5.0", word, i, i%1000, status, i%250)
		fmt.Fprintf(&b, "%s %-120.120s\n", at.Format("2006-01-02T15:04:05.000000000Z07:00"), msg)
	}
	return b.Bytes()
}

// recorded opens a log that was made before: what the API would send, without it.
type recorded []byte

func (r recorded) Open(context.Context, string, string, *corev1.PodLogOptions) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r)), nil
}

// fixed are pods that do not change.
type fixed []*corev1.Pod

func (f fixed) Pods() []*corev1.Pod                  { return f }
func (f fixed) Subscribe() (<-chan struct{}, func()) { return nil, func() {} }

// memory measures the pipeline on one core: lines that are in memory already, to a
// writer that drops them.
func (b *bench) memory(ctx context.Context) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	log := recorded(lines(b.lines))
	for _, kind := range []struct {
		name    string
		include string
		aim     float64
	}{{"default output", "", 1_000_000}, {"with -i ERROR", "ERROR", 700_000}, {"with -i request, which all lines hold", "request", 700_000}, {"with -i 'status=5..'", "status=5..", 700_000}} {
		opts := logs.Options{Out: io.Discard, Format: format.Options{Output: "default"}}
		if kind.include != "" {
			include, err := filter.CompileAll("inclusion filter", []string{kind.include})
			if err != nil {
				return err
			}
			opts.Filter.Include = include
		}
		fastest, fewest := time.Duration(0), uint64(0)
		for i := range b.rounds {
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			hub, err := logs.New(opts)
			if err != nil {
				return err
			}
			hub.Follow(logs.Selection{Opener: log, Pods: fixed{testkube.Pod("default", podName, "web")}, Once: true})
			if err := hub.Run(ctx); err != nil {
				return err
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if i == 0 || took < fastest {
				fastest = took
			}
			if n := after.Mallocs - before.Mallocs; i == 0 || n < fewest {
				fewest = n
			}
		}
		b.add(figure{Name: "from memory, one core, " + kind.name, Value: float64(b.lines) / fastest.Seconds(), Unit: "lines/s", Aim: kind.aim, Least: true})
		b.add(figure{Name: "from memory, " + kind.name + ": allocations per 100 lines", Value: float64(fewest) / float64(b.lines) * 100, Unit: "", Aim: 1})
	}
	return nil
}

// resume measures how long a reader takes from the moment at which a server that was
// away answers again to the first line that was written meanwhile.
func (b *bench) resume(ctx context.Context) error {
	server := testkube.Start()
	defer server.Close()
	if err := server.Put(testkube.Pod("default", podName, "web")); err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(server.Config())
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	core, err := kubernetes.NewForConfigAndClient(server.Config(), client)
	if err != nil {
		return err
	}
	out := &arrivals{changed: make(chan struct{}, 1)}
	hub, err := logs.New(logs.Options{Out: out, Format: format.Options{Output: "raw"}})
	if err != nil {
		return err
	}
	hub.Follow(logs.Selection{Opener: source.API(core), Pods: fixed{testkube.Pod("default", podName, "web")}})
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = hub.Run(ctx) })
	log := server.Log("default", podName, "web")
	var times []float64
	for i := range 40 {
		line := fmt.Sprintf("line %d", i)
		log.Print(time.Now(), line)
		if _, err := out.await(ctx, line); err != nil {
			return err
		}
		// Away for as long as an API server needs to restart, shortened: what counts is
		// how far the waits between two tries have grown.
		server.Down()
		time.Sleep(time.Duration(i) * 50 * time.Millisecond)
		line = fmt.Sprintf("after break %d", i)
		log.Print(time.Now(), line)
		server.Up()
		up := time.Now()
		at, err := out.await(ctx, line)
		if err != nil {
			return err
		}
		times = append(times, at.Sub(up).Seconds()*1000)
	}
	b.add(figure{Name: "resume after a server was away for 0 to 2 s, longest of 40", Value: quantile(times, 1), Unit: "ms", Aim: 1000})
	return nil
}

// arrivals is an output that knows when each line came.
type arrivals struct {
	mu      sync.Mutex
	half    []byte
	at      map[string]time.Time
	order   []string
	changed chan struct{}
}

func (a *arrivals) Write(p []byte) (int, error) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.half = append(a.half, p...)
	for {
		line, rest, ok := bytes.Cut(a.half, []byte("\n"))
		if !ok {
			break
		}
		if a.at == nil {
			a.at = map[string]time.Time{}
		}
		if _, seen := a.at[string(line)]; !seen {
			a.at[string(line)] = now
			a.order = append(a.order, string(line))
		}
		a.half = rest
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

// until waits until ok is true of the lines.
func (a *arrivals) until(ctx context.Context, ok func(lines []string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		a.mu.Lock()
		done := ok(a.order)
		a.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-a.changed:
		case <-ctx.Done():
			return errors.New("the lines do not come")
		}
	}
}

func (a *arrivals) await(ctx context.Context, line string) (time.Time, error) {
	err := a.until(ctx, func([]string) bool { return !a.at[line].IsZero() })
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at[line], err
}

// all are the lines so far, with the times at which they came.
func (a *arrivals) all() (lines []string, at map[string]time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at = map[string]time.Time{}
	for _, l := range a.order {
		at[l] = a.at[l]
	}
	return append([]string(nil), a.order...), at
}
