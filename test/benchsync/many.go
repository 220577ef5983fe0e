package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"
)

// A set is files of one folder with one content each, which tells the rounds
// apart.
type set struct {
	names []string
	size  int
}

func newSet(n, size int) set {
	s := set{size: size}
	for i := range n {
		s.names = append(s.names, fmt.Sprintf("src/d%02d/file%04d.txt", i%50, i))
	}
	return s
}

// head is what a file of a round begins with.
func (s set) head(round string, i int) string { return fmt.Sprintf("%s %d\n", round, i) }

func (s set) content(round string, i int) string {
	head := s.head(round, i)
	return head + strings.Repeat("x", s.size-len(head))
}

func (s set) write(p *project, round string) error {
	for i, name := range s.names {
		if err := p.file("web/"+name, s.content(round, i)); err != nil {
			return err
		}
	}
	return nil
}

// awaited looks until a container has all of a round.
func (s set) awaited(ctx context.Context, v view, round string) error {
	next := 0
	return until(ctx, round, func() bool {
		for next < len(s.names) && v.begins("/app/"+s.names[next], s.head(round, next), s.size) {
			next++
		}
		return next == len(s.names)
	})
}

// holds says at one look whether a container has all of a round: a reader that
// came one by one may have met files that changed behind it.
func (s set) holds(v view, round string) bool {
	for i, name := range s.names {
		if !v.begins("/app/"+name, s.head(round, i), s.size) {
			return false
		}
	}
	return true
}

// 1,000 small files, from the last write until the last of them is there.
func many(ctx context.Context, r *rig, _ options) (rows []result, err error) {
	s := newSet(1000, 1<<10)
	p, down, err := r.withSet(ctx, nil, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	took, sent, batches, err := p.bursts(ctx, s, 10)
	if err != nil {
		return nil, err
	}
	floor, err := p.floor(s, 10)
	if err != nil {
		return nil, err
	}
	return []result{
		shown("1,000 files: written and renamed in the container by this program alone, p50", median(floor), "ms").with(floor),
		atMost("1,000 files: all there after the last write, p50", median(took), "ms", 150).with(took),
		atMost("1,000 files: all there after the last write, max", quantile(took, 1), "ms", 150),
		shown("1,000 files: until the last byte is on the wire, p50", median(sent), "ms").with(sent),
		shown("1,000 files: batches", batches, ""),
	}, nil
}

// floor is how long it takes to write the whole set into the container's file system by
// temporary files that are renamed, as many at a time as there are processors: what any
// way of syncing adds to.
func (p *project) floor(s set, rounds int) (took []float64, err error) {
	where, err := p.find("web", 1)
	if err != nil {
		return nil, err
	}
	top := where[0].root + "/kdev-bench-floor"
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	for _, name := range s.names {
		if err := os.MkdirAll(path.Dir(path.Join(top, name)), 0o755); err != nil {
			return nil, err
		}
	}
	write := func(round string, i int) error {
		name := path.Join(top, s.names[i])
		if err := os.WriteFile(name+".temp", []byte(s.content(round, i)), 0o644); err != nil {
			return err
		}
		return os.Rename(name+".temp", name)
	}
	failed := make([]error, runtime.GOMAXPROCS(0))
	for i := range rounds + 1 {
		round := fmt.Sprintf("floor-%d", i)
		start := time.Now()
		var writers sync.WaitGroup
		for w := range failed {
			writers.Go(func() {
				for n := w; n < len(s.names) && failed[w] == nil; n += len(failed) {
					failed[w] = write(round, n)
				}
			})
		}
		writers.Wait()
		if err := errors.Join(failed...); err != nil {
			return nil, err
		}
		if i > 0 { // the first makes new files
			took = append(took, ms(time.Since(start)))
		}
	}
	return took, nil
}

// withSet brings up a service that holds a set.
func (r *rig) withSet(ctx context.Context, dial dialer, s set) (*project, func() error, error) {
	p, err := r.newProject("many")
	if err != nil {
		return nil, nil, err
	}
	if err := p.declare(idle("web", 1)); err != nil {
		return nil, nil, err
	}
	if err := s.write(p, "first"); err != nil {
		return nil, nil, err
	}
	down, err := p.up(ctx, dial)
	return p, down, err
}

// bursts writes the whole set several times. sent is the part of the time until the
// last byte was on the wire; batches is how many there were for one, at the most.
func (p *project) bursts(ctx context.Context, s set, rounds int) (took, sent []float64, batches float64, err error) {
	where, err := p.find("web", 1)
	if err != nil {
		return nil, nil, 0, err
	}
	for i := range rounds {
		round := fmt.Sprintf("%s-%d", p.name, i)
		before := p.wire.now()
		if err := s.write(p, round); err != nil {
			return nil, nil, 0, err
		}
		start := time.Now()
		if err := s.awaited(ctx, where[0], round); err != nil {
			return nil, nil, 0, fmt.Errorf("%w\n%s", err, p.said())
		}
		took, sent = append(took, ms(time.Since(start))), append(sent, ms(time.Unix(0, p.wire.last.Load()).Sub(start)))
		if !s.holds(where[0], round) {
			return nil, nil, 0, fmt.Errorf("files of round %d went back", i)
		}
		time.Sleep(300 * time.Millisecond)
		batches = max(batches, float64(p.wire.now().since(before).batches))
	}
	return took, sent, batches, nil
}

// A branch is switched: 4,000 files change, 500 come and 500 go.
func branch(ctx context.Context, r *rig, _ options) (rows []result, err error) {
	p, err := r.newProject("branch")
	if err != nil {
		return nil, err
	}
	if err := p.declare(idle("web", 1)); err != nil {
		return nil, err
	}
	all := newSet(5000, 1<<10)
	sides := map[string]set{"main": {all.names[:4500], all.size}, "other": {all.names[500:], all.size}}
	git := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", p.dir, "-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "gc.auto=0"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	for _, step := range []func() error{
		func() error { return git("init", "-q", "-b", "main") },
		func() error { return sides["main"].write(p, "main") },
		func() error { return git("add", "-A") },
		func() error { return git("commit", "-qm", "main") },
		func() error { return git("switch", "-qc", "other") },
		func() error { return git("rm", "-rqf", "web/src") },
		func() error { return sides["other"].write(p, "other") },
		func() error { return git("add", "-A") },
		func() error { return git("commit", "-qm", "other") },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	down, err := p.up(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 1)
	if err != nil {
		return nil, err
	}
	var took, whole []float64
	batches := 0.0
	for i := range 6 {
		side := []string{"main", "other"}[i%2]
		before := p.wire.now()
		start := time.Now()
		if err := git("switch", "-q", side); err != nil {
			return nil, err
		}
		switched := time.Now()
		if err := sides[side].awaited(ctx, where[0], side); err != nil {
			return nil, err
		}
		gone := map[string]string{"main": all.names[4999], "other": all.names[0]}[side]
		if err := until(ctx, "the removal of "+gone, func() bool { return !where[0].has("/app/" + gone) }); err != nil {
			return nil, err
		}
		took, whole = append(took, ms(time.Since(switched))), append(whole, ms(time.Since(start)))
		time.Sleep(300 * time.Millisecond)
		batches = max(batches, float64(p.wire.now().since(before).batches))
	}
	return []result{
		atMost("git switch of 5,000 files: all there after its end, p50", median(took), "ms", 1000).with(took),
		atMost("git switch of 5,000 files: all there after its end, max", quantile(took, 1), "ms", 1000),
		shown("git switch of 5,000 files: with git itself, p50", median(whole), "ms"),
		exactly("git switch of 5,000 files: batches", batches, "", 1),
	}, nil
}
