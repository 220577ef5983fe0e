package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kdev-io/kdev/internal/problem"
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
		b.mu.Lock()
		defer b.mu.Unlock()
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

// holds is what dir holds: path to content, links as "-> target", directories "/".
func holds(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case rel == ".":
		case d.IsDir():
			all[rel] = "/"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			all[rel] = "-> " + to
			return err
		default:
			b, err := os.ReadFile(p)
			all[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The containers of a unit test share one file system, so each has a directory
// of its own, and a service of its own.
func TestRestartedContainer(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	image := map[string]engine.File{root + "/a": b.write("old-a", "image a", 0o644), root + "/b": b.write("old-b", "image b", 0o644)}
	reset := func() {
		os.RemoveAll(root)
		os.MkdirAll(root, 0o755)
		os.WriteFile(root+"/a", []byte("image a"), 0o644)
		os.WriteFile(root+"/b", []byte("image b"), 0o644)
	}
	reset()
	first := agenttest.Start(t, "sleep", "1000")
	b.cluster.Set("a", first)
	c := Container{Service: "web", Pod: "a", PodUID: "u", Name: "c", ID: "1", HasAgent: true, Image: image}
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/a": b.write("a", "edited", 0o644), root + "/b": image[root+"/b"], root + "/d/c": b.write("c", "new", 0o644)}, nil)
	b.m.SetContainers("web", []Container{c})
	b.synced(g)
	want := map[string]string{"a": "edited", "b": "image b", "d": "/", "d/c": "new"}
	if got := holds(t, root); !maps.Equal(got, want) {
		t.Fatalf("holds %v", got)
	}
	e := b.await("synced", func(e Event) bool { return e.Kind == Synced })
	if e.Files != 2 {
		t.Errorf("%d files were sent, want the two that differ from the image", e.Files)
	}

	// The container is killed: its root is the image's again, and the boot nonce
	// is another. The same pod, the same worker.
	b.forget()
	first.Kill()
	reset()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	c.ID = "2"
	b.m.SetContainers("web", []Container{c})
	e = b.await("synced again", func(e Event) bool { return e.Kind == Synced })
	if got := holds(t, root); !maps.Equal(got, want) || e.Files != 2 {
		t.Errorf("holds %v after %d files", got, e.Files)
	}
}

func TestCutConnection(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	pod := agenttest.Start(t, "sleep", "1000")
	b.cluster.Set("a", pod)
	g := b.next()
	files := map[string]engine.File{}
	for i := range 50 {
		files[fmt.Sprintf("%s/%d", root, i)] = b.write(fmt.Sprint(i), strings.Repeat("x", 2000)+fmt.Sprint(i), 0o644)
	}
	b.m.SetDesired("web", g, files, nil)
	b.containers("a")
	b.synced(g)
	for round := range 3 {
		b.forget()
		pod.Cut()
		b.await("lost", func(e Event) bool { return e.Kind == Lost })
		g = b.next()
		f := b.write("7", fmt.Sprint("edited ", round), 0o644)
		b.m.Update("web", g, map[string]*engine.File{root + "/7": &f}, nil)
		b.synced(g)
		e := b.await("synced", func(e Event) bool { return e.Kind == Synced && e.Generation == g })
		if e.Files > 1 || e.Bytes > 1000 {
			t.Errorf("round %d: %d files and %d bytes after a cut, want the changed one alone", round, e.Files, e.Bytes)
		}
		want(t, root+"/7", fmt.Sprint("edited ", round), 0o644)
	}
}

// A new kdev process knows nothing and is told by the agent.
func TestNextSession(t *testing.T) {
	root := t.TempDir()
	pod := agenttest.Start(t, "sleep", "1000")
	for round := range 2 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			b := newBench(t)
			b.cluster.Set("a", pod)
			g := b.next()
			b.m.SetDesired("web", g, map[string]engine.File{root + "/x": b.write("x", "same", 0o600), root + "/y": b.write("y", fmt.Sprint(round), 0o644)}, nil)
			b.containers("a")
			b.synced(g)
			e := b.await("synced", func(e Event) bool { return e.Kind == Synced })
			if want := 2 - round; e.Files != want {
				t.Errorf("%d files, want %d", e.Files, want)
			}
		})
	}
}

// A file that is deleted while no kdev runs is removed by the next one, whether the image
// holds it or it was synced.
func TestDeletedWhileAway(t *testing.T) {
	root := t.TempDir()
	pod := agenttest.Start(t, "sleep", "1000")
	if err := os.WriteFile(root+"/image", []byte("image"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, round := range []struct{ wants, holds []string }{{[]string{"image", "synced", "kept"}, []string{"image", "kept", "synced"}}, {[]string{"kept"}, []string{"kept"}}} {
		b := newBench(t)
		b.cluster.Set("a", pod)
		files := map[string]engine.File{}
		for _, name := range round.wants {
			files[root+"/"+name] = b.write(name, name, 0o644)
		}
		g := b.next()
		b.m.SetDesired("web", g, files, nil)
		b.m.SetContainers("web", []Container{{Service: "web", Pod: "a", PodUID: "u", Name: "c", ID: "1", HasAgent: true, Image: map[string]engine.File{root + "/image": b.write("image", "image", 0o644)}}})
		b.synced(g)
		if got := slices.Sorted(maps.Keys(holds(t, root))); !slices.Equal(got, round.holds) {
			t.Errorf("holds %q, want %q", got, round.holds)
		}
		b.m.SetContainers("web", nil)
		b.await("the end of the connection", func(e Event) bool { return e.Kind == Lost })
	}
}

func TestEveryReplica(t *testing.T) {
	b := newBench(t)
	pods := []string{"a", "b", "c"}
	var list []Container
	roots := map[string]string{}
	for _, p := range pods {
		// Replicas of one service share the desired tree; here they also share the
		// file system, so each writes the same files: mismatches are settled.
		b.cluster.Set(p, agenttest.Start(t, "sleep", "1000"))
		list = append(list, Container{Service: "web", Pod: p, PodUID: p, Name: "c", ID: "1", HasAgent: true, Image: map[string]engine.File{}})
	}
	root := t.TempDir()
	roots["all"] = root
	b.m.SetContainers("web", list)
	for i := range 20 {
		g := b.next()
		f := b.write("x", fmt.Sprint("content ", i), 0o644)
		b.m.SetDesired("web", g, map[string]engine.File{root + "/x": f}, nil)
		b.synced(g)
		want(t, root+"/x", fmt.Sprint("content ", i), 0o644)
	}
	st := b.m.Status()
	if len(st) != 3 || st[0].Generation != 20 || !st[0].Connected || st[2].Pod != "c" {
		t.Errorf("status %+v", st)
	}
	// Scaled down: nobody waits for what is gone.
	b.m.SetContainers("web", list[:1])
	g := b.next()
	f := b.write("x", "last", 0o644)
	b.m.Update("web", g, map[string]*engine.File{root + "/x": &f}, nil)
	b.synced(g)
}

func TestChangedByHand(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/x": b.write("x", "one", 0o644)}, nil)
	b.containers("a")
	b.synced(g)
	if err := os.WriteFile(root+"/x", []byte("by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	g = b.next()
	f := b.write("x", "two", 0o644)
	b.m.Update("web", g, map[string]*engine.File{root + "/x": &f}, nil)
	b.synced(g)
	want(t, root+"/x", "two", 0o644)
	// And it is deleted although it was changed, since kdev put it there.
	if err := os.WriteFile(root+"/x", []byte("by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/x": nil}, nil)
	b.synced(g)
	if got := holds(t, root); len(got) != 0 {
		t.Errorf("holds %v", got)
	}
}

// What cannot be written is named, once, holds up nothing else, and is tried
// again when it changes.
func TestRefused(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	if err := os.MkdirAll(root+"/dir/theirs", 0o755); err != nil {
		t.Fatal(err)
	}
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/dir": b.write("f", "1", 0o644), root + "/x": b.write("x", "1", 0o644)}, nil)
	b.containers("a")
	e := b.await("failed", func(e Event) bool { return e.Kind == Failed })
	if e.Problem.Code != "sync-in-the-way" || !strings.Contains(e.Problem.Summary, root+"/dir") || e.Problem.Hint == "" {
		t.Errorf("problem %+v", e.Problem)
	}
	if err := b.m.WaitSynced(b.ctx, "web", g); err == nil {
		t.Error("it counts as synced")
	}
	want(t, root+"/x", "1", 0o644)
	if err := os.RemoveAll(root + "/dir"); err != nil {
		t.Fatal(err)
	}
	g = b.next()
	f := b.write("f", "2", 0o644)
	b.m.Update("web", g, map[string]*engine.File{root + "/dir": &f}, nil)
	b.await("synced", func(e Event) bool { return e.Kind == Synced && e.Generation == g })
	want(t, root+"/dir", "2", 0o644)
}

// A file that is desired where others need a directory takes nothing away from them, and
// comes when they are gone.
func TestFileWhereOthersNeedADirectory(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	other := b.write("other", "1", 0o644)
	if err := os.MkdirAll(root+"/app", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/app/other", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/app": b.write("app.py", "1", 0o644), root + "/app/other": other, root + "/x": b.write("x", "1", 0o644)}, nil)
	b.m.SetContainers("web", []Container{{Service: "web", Pod: "a", PodUID: "u", Name: "c", ID: "1", HasAgent: true, Image: map[string]engine.File{root + "/app/other": other}}})
	e := b.await("failed", func(e Event) bool { return e.Kind == Failed })
	if e.Problem.Code != "sync-in-the-way" || !strings.Contains(e.Problem.Hint, "to: "+root+"/app/") {
		t.Errorf("problem %+v, hint %s", e.Problem, e.Problem.Hint)
	}
	if got := holds(t, root); !maps.Equal(got, map[string]string{"app": "/", "app/other": "1", "x": "1"}) {
		t.Errorf("holds %v", got)
	}
	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/app/other": nil}, nil)
	b.synced(g)
	if got := holds(t, root); !maps.Equal(got, map[string]string{"app": "1", "x": "1"}) {
		t.Errorf("when the other is gone it holds %v", got)
	}
}

// Versions that come while a batch is under way are taken together by the next.
func TestCoalescing(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	b.m.SetDesired("web", b.next(), nil, nil)
	b.containers("a")
	b.synced(1)
	dials := b.cluster.Dials.Load()
	var g uint64
	for i := range 500 {
		g = b.next()
		f := b.write(fmt.Sprint(i%10), fmt.Sprint("version ", i), 0o644)
		b.m.Update("web", g, map[string]*engine.File{fmt.Sprintf("%s/%d", root, i%10): &f}, nil)
	}
	b.synced(g)
	for i := range 10 {
		want(t, fmt.Sprintf("%s/%d", root, i), fmt.Sprint("version ", 490+i), 0o644)
	}
	st := b.m.Status()[0]
	if st.Batches > 501 || b.cluster.Dials.Load() != dials {
		t.Errorf("%d batches and %d new connections for 500 saves", st.Batches, b.cluster.Dials.Load()-dials)
	}
}

func TestHooks(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	pod := agenttest.Start(t, "sh", "-c", `trap 'echo reloaded' HUP; echo "started"; while :; do sleep 0.01; done`)
	b.cluster.Set("a", pod)
	hooks := []Hook{
		{Paths: []string{"*.py"}, Restart: true},
		{Paths: []string{"deps.txt"}, Run: []string{"sh", "-c", "echo installing $(cat " + root + "/deps.txt)"}, Restart: true},
		{Match: func(container, local string) bool { return local == "conf.ini" }, Signal: "SIGHUP"},
		{Paths: []string{"bad.txt"}, Run: []string{"sh", "-c", "echo bad; exit 5"}, Restart: true},
	}
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/x.txt": b.write("x.txt", "1", 0o644)}, hooks)
	b.containers("a")
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	save := func(name, content string) {
		t.Helper()
		g = b.next()
		f := b.write(name, content, 0o644)
		b.m.Update("web", g, map[string]*engine.File{root + "/" + name: &f}, hooks)
		b.synced(g)
	}
	save("x.txt", "2") // for hot reloaders: nothing
	save("conf.ini", "1")
	if err := pod.Output.Await(b.ctx, "reloaded", 1); err != nil {
		t.Fatal(err)
	}
	save("deps.txt", "flask")
	if err := pod.Output.Await(b.ctx, "installing flask\nstarted", 1); err != nil {
		t.Fatal(err)
	}
	save("a.py", "1")
	if err := pod.Output.Await(b.ctx, "started", 3); err != nil {
		t.Fatal(err)
	}
	b.forget()
	save("bad.txt", "1")
	e := b.await("hooked", func(e Event) bool { return e.Kind == Hooked })
	if e.Problem == nil || e.Problem.Code != "sync-command" || !strings.Contains(e.Problem.Summary, "exit code 5") {
		t.Errorf("problem %+v", e.Problem)
	}
	save("x.txt", "3") // the next change, whatever it is, tries again
	if err := pod.Output.Await(b.ctx, "bad", 2); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(pod.Output.String(), "started"); n != 3 {
		t.Errorf("started %d times, want 3: %s", n, pod.Output)
	}
}

func TestHeldContainer(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	pod := agenttest.Start(t, "sh", "-c", `echo started; [ ! -e "$0/broken" ] || exit 4; exec sleep 1000`, root)
	b.cluster.Set("a", pod)
	hooks := []Hook{{Restart: true}}
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/x": b.write("x", "1", 0o644)}, hooks)
	b.containers("a")
	b.synced(g)
	if err := pod.Output.Await(b.ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	g = b.next()
	f := b.write("broken", "", 0o644)
	b.m.Update("web", g, map[string]*engine.File{root + "/broken": &f}, hooks)
	e := b.await("held", func(e Event) bool { return e.Kind == Held })
	if e.Problem == nil || e.Problem.Code != "sync-held" || e.Generation != g {
		t.Errorf("event %+v", e)
	}
	if st := b.m.Status()[0]; st.Phase != "held" {
		t.Errorf("phase %q", st.Phase)
	}
	b.forget()
	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/broken": nil}, hooks)
	b.await("started", func(e Event) bool { return e.Kind == Started })
	b.synced(g)
}

// A file that changes between its hash and its sending is not sent as what it
// is not; the watcher's next word puts it right.
func TestFileChangesWhileItIsRead(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	b.m.SetDesired("web", b.next(), nil, nil)
	b.containers("a")
	b.synced(1)
	for name, size := range map[string]int{"small": 100, "big": 300000} {
		stale := b.write(name, strings.Repeat("a", size), 0o644)
		fresh := b.write(name, strings.Repeat("b", size), 0o644)
		b.m.Update("web", b.next(), map[string]*engine.File{root + "/" + name: &stale}, nil)
		g := b.next()
		b.m.Update("web", g, map[string]*engine.File{root + "/" + name: &fresh}, nil)
		b.synced(g)
		want(t, root+"/"+name, strings.Repeat("b", size), 0o644)
	}
}

func TestDirectoryThatVanishes(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	dir := engine.File{Mode: fs.ModeDir | 0o755, Local: "d"}
	empty := engine.File{Mode: fs.ModeDir | 0o755, Local: "d/empty"}
	link := engine.File{Mode: fs.ModeSymlink | 0o777, Link: "x", Local: "d/link"}
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{
		root + "/d": dir, root + "/d/empty": empty, root + "/d/link": link, root + "/d/x": b.write("d/x", "1", 0o644), root + "/d/other": b.write("elsewhere/other", "2", 0o644),
	}, nil)
	b.containers("a")
	b.synced(g)
	if got := holds(t, root); got["d/link"] != "-> x" || got["d/empty"] != "/" {
		t.Fatalf("holds %v", got)
	}
	// The watcher says that d is gone and need not name what was in it; what came
	// from another directory stays.
	g = b.next()
	b.m.Update("web", g, map[string]*engine.File{root + "/d": nil}, nil)
	b.synced(g)
	if got := holds(t, root); !maps.Equal(got, map[string]string{"d": "/", "d/other": "2"}) {
		t.Errorf("holds %v", got)
	}
}

func TestNoAgent(t *testing.T) {
	b := newBench(t)
	b.m.SetDesired("web", b.next(), nil, nil)
	b.m.SetContainers("web", []Container{{Service: "web", Pod: "p", Name: "c", ID: "1"}})
	e := b.await("failed", func(e Event) bool { return e.Kind == Failed })
	if e.Problem.Code != "sync-no-agent" || e.Problem.Where != "p/c" || e.Problem.Hint == "" {
		t.Errorf("problem %+v", e.Problem)
	}
}

func BenchmarkSave(b *testing.B)  { benchmarkSaves(b, 1, 10<<10) }
func BenchmarkBurst(b *testing.B) { benchmarkSaves(b, 1000, 1<<10) }

// benchmarkSaves saves n files at a time.
func benchmarkSaves(b *testing.B, n, size int) {
	root := b.TempDir()
	c := &agenttest.Cluster{}
	pod := agenttest.Start(b, "sleep", "1000")
	c.Set("a", pod)
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
	content := []byte(strings.Repeat("x", size))
	gen := uint64(1)
	for b.Loop() {
		gen++
		copy(content, fmt.Sprint(gen, "."))
		changed := map[string]*engine.File{}
		b.StopTimer()
		for i := range n {
			name := fmt.Sprint("f", i)
			if err := os.WriteFile(filepath.Join(local, name), content, 0o644); err != nil {
				b.Fatal(err)
			}
			changed[root+"/"+name] = &engine.File{Mode: 0o644, Size: int64(len(content)), Digest: sha256.Sum256(content), MTime: int64(gen), Local: name}
		}
		b.StartTimer()
		m.Update("web", gen, changed, nil)
		if err := m.WaitSynced(ctx, "web", gen); err != nil {
			b.Fatal(err)
		}
	}
	pod.Kill()
	b.ReportMetric(float64(pod.CPU().Microseconds())/float64(b.N*n), "agent-µs/file")
}

// A swamp is a network that swallows what is sent, for as long as it is down.
type swamp struct {
	*agenttest.Cluster
	mu   sync.Mutex
	up   chan struct{} // closed while the network is up
	hung atomic.Int64  // dials that hang
}

func (s *swamp) wait(ctx context.Context) error {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *swamp) Dial(ctx context.Context, ns, pod, container string) (io.ReadWriteCloser, error) {
	s.hung.Add(1)
	err := s.wait(ctx)
	s.hung.Add(-1)
	if err != nil {
		return nil, err
	}
	conn, err := s.Cluster.Dial(ctx, ns, pod, container)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &sinking{conn, s, ctx, cancel}, nil
}

type sinking struct {
	io.ReadWriteCloser
	s      *swamp
	ctx    context.Context
	cancel context.CancelFunc
}

func (c *sinking) Write(b []byte) (int, error) {
	if err := c.s.wait(c.ctx); err != nil {
		return 0, err
	}
	return c.ReadWriteCloser.Write(b)
}

func (c *sinking) Close() error {
	c.cancel()
	return c.ReadWriteCloser.Close()
}

func TestNetworkThatSwallows(t *testing.T) {
	b := newBench(t)
	up := make(chan struct{})
	close(up)
	s := &swamp{Cluster: b.cluster, up: up}
	b.m.opts.Dial, b.m.opts.Heartbeat = s, 10*time.Millisecond
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/x": b.write("x", "1", 0o644)}, nil)
	b.containers("a")
	b.synced(g)

	down := make(chan struct{})
	s.mu.Lock()
	s.up = down
	s.mu.Unlock()
	b.await("the heartbeat to notice", func(e Event) bool { return e.Kind == Lost })
	g = b.next()
	f := b.write("x", "2", 0o644)
	b.m.Update("web", g, map[string]*engine.File{root + "/x": &f}, nil)
	close(down)
	b.synced(g)
	want(t, root+"/x", "2", 0o644)
}

// A small edit of a big file costs little, from the first one on; what makes a
// patch impossible costs a whole file, never a wrong one.
func TestBigFiles(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	content := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{5}).Read(content)
	image := b.write("big", string(content), 0o755)
	if err := os.WriteFile(root+"/big", content, 0o755); err != nil {
		t.Fatal(err)
	}
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{root + "/big": image}, nil)
	b.m.SetContainers("web", []Container{{Service: "web", Pod: "a", PodUID: "u", Name: "c", ID: "1", HasAgent: true, Image: map[string]engine.File{root + "/big": image}}})
	b.synced(g)
	for !b.m.bases.has(image.Digest) { // a copy is made beside everything else
		if b.ctx.Err() != nil {
			t.Fatal("the file of the image was not copied")
		}
		runtime.Gosched()
	}
	save := func(most int64) {
		t.Helper()
		g = b.next()
		f := b.write("big", string(content), 0o755)
		f.MTime += int64(g)
		b.m.Update("web", g, map[string]*engine.File{root + "/big": &f}, nil)
		b.synced(g)
		e := b.await("synced", func(e Event) bool { return e.Kind == Synced && e.Generation == g })
		if e.Bytes > most {
			t.Errorf("%d bytes were sent, want at most %d", e.Bytes, most)
		}
		got, err := os.ReadFile(root + "/big")
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("the file differs (%v)", err)
		}
	}
	content[1<<20]++
	save(1000)
	content = append(content[:100:100], content[50:]...)
	save(1000)
	// Somebody changed it in the container: no version at hand is there.
	if err := os.WriteFile(root+"/big", []byte("by hand"), 0o755); err != nil {
		t.Fatal(err)
	}
	content[2<<20]++
	save(4 << 20)
	content[5]++
	save(1000)
	rand.NewChaCha8([32]byte{6}).Read(content) // nothing in common
	save(4 << 20)
	content[6]++
	save(1000)
}

// A distant cluster's network is slower than deflate.
func TestFarAway(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.m.opts.Dial = slow{b.cluster}
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	g := b.next()
	text := strings.Repeat("all work and no play makes jack a dull boy\n", 5000)
	b.m.SetDesired("web", g, map[string]engine.File{
		root + "/small": b.write("small", text[:20000], 0o644), root + "/big": b.write("big", text, 0o644), root + "/tiny": b.write("tiny", "x", 0o644),
	}, nil)
	b.containers("a")
	b.synced(g)
	e := b.await("synced", func(e Event) bool { return e.Kind == Synced })
	if e.Bytes > 20000 {
		t.Errorf("%d bytes were sent", e.Bytes)
	}
	want(t, root+"/big", text, 0o644)
	want(t, root+"/small", text[:20000], 0o644)
}

// slow delays the first answer.
type slow struct{ *agenttest.Cluster }

func (s slow) Dial(ctx context.Context, ns, pod, container string) (io.ReadWriteCloser, error) {
	conn, err := s.Cluster.Dial(ctx, ns, pod, container)
	return &late{ReadWriteCloser: conn}, err
}

type late struct {
	io.ReadWriteCloser
	once sync.Once
}

func (l *late) Read(b []byte) (int, error) {
	l.once.Do(func() { <-time.After(2 * farAway) })
	return l.ReadWriteCloser.Read(b)
}

func TestVerifyAndPull(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.cluster.Set("a", agenttest.Start(t, "sleep", "1000"))
	g := b.next()
	files := map[string]engine.File{root + "/d": {Mode: fs.ModeDir | 0o755, Local: "d"}}
	for _, name := range []string{"same", "edited", "gone", "chmod", "d/inside"} {
		files[root+"/"+name] = b.write(name, name, 0o644)
	}
	// One that the image holds with other bits than here: a RUN may have set them.
	files[root+"/image"] = b.write("image", "image", 0o644)
	if err := os.WriteFile(root+"/image", []byte("image"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.m.SetDesired("web", g, files, nil)
	b.m.SetContainers("web", []Container{{Service: "web", Namespace: "ns", Pod: "a", PodUID: "u", Name: "web", ID: "id", HasAgent: true, Image: map[string]engine.File{root + "/image": files[root+"/image"]}}})
	b.synced(g)
	if found, err := b.m.Verify(b.ctx, "web", false); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
	os.WriteFile(root+"/edited", []byte("by hand"), 0o644)
	os.Remove(root + "/gone")
	if err := os.Chmod(root+"/chmod", 0o600); err != nil {
		t.Fatal(err)
	}
	want := []Drift{{"a", "web", root + "/chmod", "other permission bits"}, {"a", "web", root + "/edited", "another content"}, {"a", "web", root + "/gone", "missing"}}
	found, err := b.m.Verify(b.ctx, "web", true)
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%v, %v", found, err)
	}
	for len(found) > 0 { // the repair is a batch of its own
		if found, err = b.m.Verify(b.ctx, "web", false); err != nil {
			t.Fatal(err)
		}
	}

	for name, mode := range map[string]fs.FileMode{"chmod": 0o644, "image": 0o755} {
		if info, err := os.Stat(root + "/" + name); err != nil || info.Mode() != mode {
			t.Errorf("%s has %v, %v", name, info.Mode(), err)
		}
	}
	var got bytes.Buffer
	if mode, err := b.m.Pull(b.ctx, "web", "", root+"/edited", 6, &got); err != nil || got.String() != "edited" || mode != 0o644 {
		t.Errorf("%q, %v, %v", got.String(), mode, err)
	}
	b.forget()
	if _, err := b.m.Pull(b.ctx, "web", "", root+"/edited", 5, &got); problem.As(err) == nil || problem.As(err).Code != "sync-pull-size" || got.Len() != 6 {
		t.Errorf("a file that is too large: %v, %q", err, got.String())
	}
	b.await("the next connection", func(e Event) bool { return e.Kind == Connected })
	for path, code := range map[string]string{root + "/nothing": "sync-pull", root + "/d": "sync-pull", "../x": "sync-path"} {
		if _, err := b.m.Pull(b.ctx, "web", "", path, 1<<20, &got); problem.As(err) == nil || problem.As(err).Code != code {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := b.m.Pull(b.ctx, "web", "other", "/x", 1<<20, &got); problem.As(err) == nil {
		t.Errorf("a pod that is not there: %v", err)
	}
}

// An API server that has just started refuses everything until it has read its roles:
// no news of a container that it allowed to sync before, unless it goes on.
func TestForbiddenForAWhile(t *testing.T) {
	forbidden := errors.New(`pods "p" is forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "cluster-admin" not found`)
	now := time.Date(2026, 11, 27, 14, 0, 0, 0, time.UTC)
	c := Container{Service: "web", Namespace: "n", Pod: "p", Name: "c", ID: "id"}
	worker := func(boot [16]byte) *worker {
		m := New(Options{Now: func() time.Time { return now }})
		return &worker{m: m, s: &service{}, container: c, boot: boot}
	}
	before, never := worker([16]byte{1}), worker([16]byte{})
	before.dialFailed(c, forbidden)
	never.dialFailed(c, forbidden)
	if before.problem != nil {
		t.Errorf("told at once, though it was allowed before: %v", before.problem)
	}
	if never.problem == nil || never.problem.Code != "sync-forbidden" {
		t.Errorf("what was never allowed is not told: %v", never.problem)
	}
	now = now.Add(rolesWithin)
	before.dialFailed(c, forbidden)
	if before.problem == nil || before.problem.Code != "sync-forbidden" {
		t.Errorf("not told after %v: %v", rolesWithin, before.problem)
	}
}
