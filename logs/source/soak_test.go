package source

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	runs     = flag.Int("runs", 250, "how many scripted containers TestNothingLostNothingDoubled reads")
	firstRun = flag.Int("first-run", 0, "the first of them: its number is the seed")
)

// Each run is a container that writes lines of all lengths, is restarted and
// rotated, while every stream of it breaks somewhere. What arrives has to be what
// was written, line by line.
func TestNothingLostNothingDoubled(t *testing.T) {
	server, opener := fake(t)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range *runs {
		seed := *firstRun + i
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := newScript(server, uint64(seed))
			if err := s.run(ctx, opener); err != nil {
				t.Errorf("run %d: %v", seed, err)
			}
		})
	}
	wait.Wait()
}

// fake starts a server and opens logs of it.
func fake(t testing.TB) (*testkube.Server, Opener) {
	t.Helper()
	server := testkube.Start()
	t.Cleanup(server.Close)
	client, err := rest.HTTPClientFor(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	core, err := kubernetes.NewForConfigAndClient(server.Config(), client)
	if err != nil {
		t.Fatal(err)
	}
	return server, API(core)
}

// A script is one container and its bad luck. The seed decides all.
type script struct {
	rand   *rand.Rand
	pod    string
	server *testkube.Server
	log    *testkube.Log
	store  *store.Store
	cursor *store.Cursor
	want   []string
	got    []string
	now    time.Time
}

func newScript(server *testkube.Server, seed uint64) *script {
	s := &script{
		rand: rand.New(rand.NewPCG(seed, 7)), server: server, pod: fmt.Sprintf("pod-%d", seed),
		store: store.New(4 << 20),
		now:   time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC),
	}
	s.cursor = s.store.Cursor(true)
	s.log = server.Log("default", s.pod, "app")
	return s
}

func (s *script) run(ctx context.Context, opener Opener) error {
	if err := s.server.Put(testkube.Pod("default", s.pod)); err != nil {
		return err
	}
	faults := rand.New(rand.NewPCG(s.rand.Uint64(), 1))
	healthy := 5 + s.rand.IntN(20) // from that request on nothing goes wrong, so that the run ends
	s.log.Faults(func(request int) testkube.Fault {
		if request >= healthy {
			return testkube.Fault{}
		}
		return breakage(faults)
	})
	src := s.store.AddSource(store.Source{Namespace: "default", Pod: s.pod, Container: "app"})
	state := State{ID: "c-0", Running: true}
	r := NewReader(opener, s.store, src, NewGate(0), state, Options{Follow: true}, Hooks{})
	r.longest = 10 * time.Millisecond // thousands of breaks, not their waits, are tested here
	var reader sync.WaitGroup
	readCtx, stop := context.WithCancel(ctx)
	reader.Go(func() { _ = r.Run(readCtx) })
	defer reader.Wait()
	defer stop()

	earlier := 0 // lines of runs before the current one
	for range 3 + s.rand.IntN(8) {
		s.burst()
		switch s.rand.IntN(6) {
		case 0:
			// The kubelet keeps one ended run: those before it have to be read by now.
			// And one line of this one, from which to go on.
			if err := s.await(ctx, earlier+1); err != nil {
				return err
			}
			earlier = len(s.want)
			s.log.Restart()
			s.now = s.now.Add(time.Millisecond)
			state = State{ID: fmt.Sprintf("c-%d", state.Restarts+1), Restarts: state.Restarts + 1, Running: true, Started: s.now.Truncate(time.Second)}
			r.Update(state)
		case 1:
			if err := s.await(ctx, len(s.want)); err != nil {
				return err
			}
			s.log.Rotate(s.rand.IntN(20))
			// Lines of one nanosecond, some rotated away and some yet to come, cannot
			// be told apart; nor does a node's clock make them.
			s.now = s.now.Add(3 * time.Microsecond)
		case 2:
			if err := s.await(ctx, len(s.want)-s.rand.IntN(30)); err != nil {
				return err
			}
		}
	}
	if err := s.await(ctx, 1); err != nil {
		return err
	}
	s.log.End()
	state.Running, state.Final = false, true
	r.Update(state)
	if err := s.await(ctx, len(s.want)); err != nil {
		return err
	}
	reader.Wait() // a final container's reader ends by itself
	s.drain()
	if len(s.got) != len(s.want) {
		return fmt.Errorf("%d lines written, %d read", len(s.want), len(s.got))
	}
	return nil
}

// burst writes some lines. Times repeat, and neighbours may be out of order by
// microseconds, as stdout and stderr of a container are.
func (s *script) burst() {
	var entries []testkube.Entry
	for range 1 + s.rand.IntN(40) {
		switch s.rand.IntN(4) {
		case 0: // the same nanosecond
		case 1:
			s.now = s.now.Add(time.Duration(s.rand.IntN(1000)))
		case 2:
			s.now = s.now.Add(time.Duration(s.rand.IntN(int(time.Second))))
		case 3:
			s.now = s.now.Add(time.Duration(s.rand.IntN(int(3 * time.Second))))
		}
		at := s.now
		if s.rand.IntN(10) == 0 {
			at = at.Add(-time.Duration(s.rand.IntN(2000)))
		}
		e := testkube.Entry{Time: at, Text: fmt.Sprintf("line %d of %s %s", len(s.want), s.pod, s.filler())}
		if s.rand.IntN(20) == 0 {
			half := len(e.Text) / 2
			e.Parts = []string{e.Text[:half], e.Text[half:]}
		}
		s.want = append(s.want, e.Text)
		entries = append(entries, e)
	}
	s.log.Append(entries...)
}

func (s *script) filler() string {
	switch n := s.rand.IntN(200); {
	case n == 0 && s.rand.IntN(10) == 0:
		return strings.Repeat("m", 1<<20-100)
	case n < 3:
		return strings.Repeat("k", s.rand.IntN(200_000))
	default:
		return strings.Repeat(".", s.rand.IntN(120))
	}
}

func breakage(r *rand.Rand) testkube.Fault {
	switch r.IntN(10) {
	case 0:
		return testkube.Fault{Status: 500, Text: "kubelet is away"}
	case 1:
		return testkube.Fault{CutAfter: -1}
	case 2:
		return testkube.Fault{NoFollow: true}
	case 3:
		return testkube.Fault{Chunk: 1 + r.IntN(50), CutAfter: 1 + r.IntN(1000), Reset: true}
	default:
		return testkube.Fault{CutAfter: 1 + r.IntN(8000), Reset: r.IntN(2) == 0}
	}
}

// await reads until n lines have come, and holds each against what was written.
func (s *script) await(ctx context.Context, n int) error {
	for {
		s.drain()
		for i := range s.got {
			if i >= len(s.want) || s.got[i] != s.want[i] {
				return fmt.Errorf("line %d is %.60q (%d bytes), want %.60q (%d bytes)", i, s.got[i], len(s.got[i]), at(s.want, i), len(at(s.want, i)))
			}
		}
		if len(s.got) >= n {
			return nil
		}
		select {
		case <-s.cursor.Changed():
		case <-ctx.Done():
			return fmt.Errorf("%d of %d lines after %d requests: %w", len(s.got), n, s.log.Requests(), ctx.Err())
		}
	}
}

func (s *script) drain() {
	for {
		segs, _ := s.cursor.Next()
		if len(segs) == 0 {
			return
		}
		for i := range segs {
			for _, l := range segs[i].Lines {
				s.got = append(s.got, string(segs[i].Text(l)))
			}
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}
