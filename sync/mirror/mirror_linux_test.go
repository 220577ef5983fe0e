package mirror

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/engine"
)

func TestMain(m *testing.M) {
	agenttest.Main()
	goleak.VerifyTestMain(m)
}

// A bench is a mirror with a local tree and containers.
type bench struct {
	t       *testing.T
	ctx     context.Context
	local   string
	cluster *agenttest.Cluster
	m       *Mirror
	done    chan struct{}

	mu     sync.Mutex
	events []Event
	more   chan struct{}
	gen    uint64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	// A bound for a test that hangs, not a measure.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	b := &bench{t: t, ctx: ctx, local: t.TempDir(), cluster: &agenttest.Cluster{}, done: make(chan struct{}), more: make(chan struct{})}
	b.m = New(Options{
		Dial: b.cluster,
		Open: func(local string) (*os.File, error) { return os.Open(filepath.Join(b.local, local)) },
		Events: func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
			close(b.more)
			b.more = make(chan struct{})
		},
	})
	run, stop := context.WithCancel(context.Background())
	go func() {
		defer close(b.done)
		b.m.Run(run)
	}()
	t.Cleanup(func() {
		stop()
		<-b.done
		cancel()
	})
	return b
}

// await waits for an event.
func (b *bench) await(what string, is func(Event) bool) Event {
	b.t.Helper()
	for {
		b.mu.Lock()
		for _, e := range b.events {
			if is(e) {
				b.mu.Unlock()
				return e
			}
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-b.ctx.Done():
			b.t.Fatalf("waiting for %s: %v; events: %v", what, b.ctx.Err(), b.events)
		}
	}
}

func (b *bench) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = nil
}

// write writes a local file and returns its description.
func (b *bench) write(name, content string, perm fs.FileMode) engine.File {
	b.t.Helper()
	full := filepath.Join(b.local, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), perm); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(full, perm); err != nil {
		b.t.Fatal(err)
	}
	return engine.File{Mode: perm, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content)), MTime: 1e18 + 123456789, Local: name}
}

func (b *bench) next() uint64 { b.gen++; return b.gen }

func (b *bench) synced(gen uint64) {
	b.t.Helper()
	if err := b.m.WaitSynced(b.ctx, "web", gen); err != nil {
		b.t.Fatalf("generation %d: %v; events %v", gen, err, b.events)
	}
}

func (b *bench) containers(pods ...string) {
	var list []Container
	for _, p := range pods {
		list = append(list, Container{Service: "web", Namespace: "ns", Pod: p, PodUID: "uid-" + p, Name: "web", ID: "id", HasAgent: true, Image: map[string]engine.File{}, MayHold: true})
	}
	b.m.SetContainers("web", list)
}

func TestOneContainer(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	file := b.write("x.txt", "one", 0o640)
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/d/x.txt": file}, nil)
	b.containers("a")
	b.synced(g)
	want(t, root+"/d/x.txt", "one", 0o640)
	info, err := os.Stat(root + "/d/x.txt")
	if err != nil || info.ModTime().UnixNano() != file.MTime {
		t.Errorf("mtime %v, want %v", info.ModTime().UnixNano(), file.MTime)
	}

	g = b.next()
	big := b.write("big", strings.Repeat("0123456789abcdef", 50000), 0o755)
	b.m.Update("web", g, map[string]*engine.File{root + "/big": &big}, nil)
	b.synced(g)
	want(t, root+"/big", strings.Repeat("0123456789abcdef", 50000), 0o755)

	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/d/x.txt": nil}, nil)
	b.synced(g)
	if _, err := os.Lstat(root + "/d"); err == nil {
		t.Error("the directory that held the file alone is still there")
	}
}

func want(t *testing.T, path, content string, perm fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if string(got) != content {
		t.Errorf("%s holds %d bytes, want %d", path, len(got), len(content))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != perm {
		t.Errorf("%s: mode %v, want %v", path, info.Mode(), perm)
	}
}

func BenchmarkSave(b *testing.B) {
	root := b.TempDir()
	c := &agenttest.Cluster{}
	c.Set("a", agenttest.Start(b, "sleep", "1000"))
	local := b.TempDir()
	m := New(Options{Dial: c, Open: func(l string) (*os.File, error) { return os.Open(filepath.Join(local, l)) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	m.SetDesired("web", 1, nil, nil)
	m.SetContainers("web", []Container{{Service: "web", Pod: "a", PodUID: "1", Name: "c", ID: "x", HasAgent: true, Image: map[string]engine.File{}}})
	if err := m.WaitSynced(ctx, "web", 1); err != nil {
		b.Fatal(err)
	}
	content := []byte(strings.Repeat("x", 10<<10))
	gen := uint64(1)
	for b.Loop() {
		gen++
		copy(content, fmt.Sprint(gen, "."))
		if err := os.WriteFile(filepath.Join(local, "f"), content, 0o644); err != nil {
			b.Fatal(err)
		}
		f := engine.File{Mode: 0o644, Size: int64(len(content)), Digest: sha256.Sum256(content), MTime: int64(gen), Local: "f"}
		m.Update("web", gen, map[string]*engine.File{root + "/f": &f}, nil)
		if err := m.WaitSynced(ctx, "web", gen); err != nil {
			b.Fatal(err)
		}
	}
}
