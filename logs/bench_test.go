package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/format"
)

// benchLines is how many lines one log of the benchmark holds.
const benchLines = 200_000

// memory opens a log that was made before: what the API would send, without it.
type memory struct{ log []byte }

func (m memory) Open(context.Context, string, string, *corev1.PodLogOptions) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m.log)), nil
}

// newMemory makes lines whose message has 120 bytes; one in a hundred holds "ERROR".
func newMemory(n int) memory {
	var b bytes.Buffer
	at := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(13 * time.Microsecond)
		word := "INFO"
		if i%100 == 0 {
			word = "ERROR"
		}
		msg := fmt.Sprintf("%s request %08d handled path=/api/v1/items/%d status=200 duration=12.5ms client=10.244.0.%d agent=curl/8.5.0", word, i, i%1000, i%250)
		fmt.Fprintf(&b, "%s %-120.120s\n", at.Format("2006-01-02T15:04:05.000000000Z07:00"), msg)
	}
	return memory{b.Bytes()}
}

// fixed are pods that do not change.
type fixed []*corev1.Pod

func (f fixed) Pods() []*corev1.Pod                  { return f }
func (f fixed) Subscribe() (<-chan struct{}, func()) { return nil, func() {} }

func benchmark(b *testing.B, opts Options) {
	log := newMemory(benchLines)
	opts.Out = io.Discard
	b.ReportAllocs()
	b.SetBytes(int64(len(log.log)))
	for b.Loop() {
		hub, err := New(opts)
		if err != nil {
			b.Fatal(err)
		}
		hub.Follow(Selection{Opener: log, Pods: fixed{testkube.Pod("default", "web-5d9c7bd6f8-x2x4j", "web")}, Once: true})
		if err := hub.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchLines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkOutput(b *testing.B) {
	include, err := filter.CompileAll("inclusion filter", []string{"ERROR"})
	if err != nil {
		b.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts Options
	}{
		{"default", Options{Format: format.Options{Output: "default"}}},
		{"default-terminal", Options{Format: format.Options{Output: "default", Color: true, Safe: true}}},
		{"default-timestamps", Options{Format: format.Options{Output: "default", Timestamps: "default"}}},
		{"default-include", Options{Filter: filter.Options{Lines: filter.Lines{Include: include}}}},
		{"raw", Options{Format: format.Options{Output: "raw"}}},
		{"json", Options{Format: format.Options{Output: "json"}}},
		{"jsonl", Options{Format: format.Options{Output: "jsonl"}}},
	} {
		b.Run(tt.name, func(b *testing.B) { benchmark(b, tt.opts) })
	}
}
