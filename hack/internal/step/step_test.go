package step

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestLog(t *testing.T) {
	for _, c := range []struct {
		name string
		took time.Duration
		note string
		err  error
		want string
	}{
		{"time", 1500 * time.Millisecond, "", nil, "area         what                                                 1.5 s\n"},
		{"cached", time.Millisecond, Cached, nil, "area         what                                                 cached\n"},
		{"note of a long step", 75 * time.Second, "3.11.2", nil, "area         what                                                 75.0 s, 3.11.2\n"},
		{"failure", 100 * time.Millisecond, "", errors.New("x"), "area         what                                                 failed after 0.1 s\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			clock := time.Unix(0, 0)
			l := NewLog(&out)
			l.now = func() time.Time { return clock }
			err := l.Do("area", "what", func() (string, error) {
				clock = clock.Add(c.took)
				return c.note, c.err
			})
			if err != c.err || out.String() != c.want {
				t.Errorf("got %q, %v; want %q", out.String(), err, c.want)
			}
		})
	}
}

func TestRunKeepsTheEndOfTheOutput(t *testing.T) {
	err := Run(context.Background(), Command{
		Args: []string{"sh", "-c", "seq 1 9000; echo the cause >&2; exit 3"}, Hint: "do this",
	})
	p := problem.As(err)
	if p == nil {
		t.Fatalf("not a problem: %v", err)
	}
	if !strings.HasSuffix(p.Output, "9000\nthe cause") || len(p.Output) > kept || strings.HasPrefix(p.Output, "1\n") || p.Hint != "do this" {
		t.Errorf("output %q, hint %q", p.Output, p.Hint)
	}
	if p = problem.As(Run(context.Background(), Command{Args: []string{"/no/such/program"}})); p == nil || p.Summary != "cannot run /no/such/program" {
		t.Errorf("missing program: %+v", p)
	}
}

// The end of the context ends grandchildren too: they would go on compiling.
func TestRunEndsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	started := filepath.Join(t.TempDir(), "started")
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Command{Args: []string{"sh", "-c", "sleep 60 & echo > " + started + "; wait"}})
	}()
	for _, err := os.Stat(started); err != nil; _, err = os.Stat(started) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case err := <-ended:
		if !Interrupted(err) {
			t.Errorf("error %v", err)
		}
	case <-time.After(4 * time.Second):
		t.Error("the child outlived its context")
	}
}

func TestOutput(t *testing.T) {
	if out, err := Output(context.Background(), Command{Args: []string{"echo", " a b "}}); err != nil || out != "a b" {
		t.Errorf("got %q, %v", out, err)
	}
}
