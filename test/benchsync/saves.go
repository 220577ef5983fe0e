package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"path"
	"strings"
	"time"
)

// One file, one container: from before the save until a reader has it whole.
func saves(ctx context.Context, r *rig, o options) (rows []result, err error) {
	p, down, err := r.small(ctx, nil, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 1)
	if err != nil {
		return nil, err
	}
	for _, size := range []int{1 << 10, 10 << 10, 64 << 10} {
		n := o.saves
		if size != 10<<10 {
			n /= 5
		}
		before := p.wire.now()
		took, _, sent, err := p.saveAndLook(ctx, where, size, n)
		if err != nil {
			return rows, err
		}
		name := fmt.Sprintf("save of %d KB -> readable", size>>10)
		rows = append(rows, atMost(name+", p50", median(took), "ms", 12).with(took), atMost(name+", p95", quantile(took, 0.95), "ms", 25),
			shown(name+": until it is on the wire, p50", median(sent), "ms"))
		if size == 10<<10 {
			c := p.wire.now().since(before)
			rows = append(rows,
				exactly("round trips a save", float64(c.turns())/float64(n), "", 1),
				shown("round trips of these saves that were no batch", float64(c.others), ""),
				exactly("execs a save", float64(c.execs)/float64(n), "", 0))
		}
	}
	idle, err := idleCPU(ctx, where[0])
	if err != nil {
		return rows, err
	}
	peak, anonymous, err := where[0].memory()
	return append(rows,
		atMost("agent: CPU while nothing happens", idle, "%", 0.5),
		atMost("agent: memory after these saves, peak", peak, "MB", 20),
		atMost("agent: anonymous memory (bounds the heap)", anonymous, "MB", 8)), err
}

// replicas: the containers of one service have a save at the same time.
func replicas(ctx context.Context, r *rig, o options) (rows []result, err error) {
	p, down, err := r.small(ctx, nil, 3)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 3)
	if err != nil {
		return nil, err
	}
	took, apart, _, err := p.saveAndLook(ctx, where, 10<<10, o.saves/2)
	if err != nil {
		return nil, err
	}
	return []result{
		shown("save -> readable in all of three replicas, p50", median(took), "ms").with(took),
		shown("save -> readable in all of three replicas, p95", quantile(took, 0.95), "ms"),
		shown("replicas apart, p50", median(apart), "ms").with(apart),
		atMost("replicas apart, p95", quantile(apart, 0.95), "ms", 10),
	}, nil
}

// small brings up a service that holds a few files.
func (r *rig) small(ctx context.Context, dial dialer, replicas int) (*project, func() error, error) {
	p, err := r.newProject("small")
	if err != nil {
		return nil, nil, err
	}
	if err := p.declare(idle("web", replicas)); err != nil {
		return nil, nil, err
	}
	if err := p.file("web/src/file.txt", "first\n"); err != nil {
		return nil, nil, err
	}
	down, err := p.up(ctx, dial)
	return p, down, err
}

// saveAndLook saves a file n times, as most editors do (truncate and write),
// with pauses that follow no beat. took is the time until the last container
// has it, apart that from the first to the last, sent that until the last byte
// before then was written to the wire.
func (p *project) saveAndLook(ctx context.Context, where []view, size, n int) (took, apart, sent []float64, err error) {
	const name = "src/file.txt"
	random := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range n {
		head := fmt.Sprintf("%s %d %d\n", p.name, size, i)
		content := head + strings.Repeat("x", size-len(head))
		start := time.Now()
		if err := p.file("web/"+name, content); err != nil {
			return nil, nil, nil, err
		}
		seen := make([]time.Duration, len(where))
		left := len(where)
		err := until(ctx, head, func() bool {
			for j, v := range where {
				if seen[j] == 0 && v.begins(path.Join("/app", name), head, size) {
					seen[j] = time.Since(start)
					left--
				}
			}
			return left == 0
		})
		if err != nil {
			log.Print(p.said())
			return nil, nil, nil, err
		}
		first, last := seen[0], seen[0]
		for _, d := range seen {
			first, last = min(first, d), max(last, d)
		}
		took, apart = append(took, ms(last)), append(apart, ms(last-first))
		sent = append(sent, ms(time.Unix(0, p.wire.last.Load()).Sub(start)))
		time.Sleep(30*time.Millisecond + time.Duration(random.IntN(40))*time.Millisecond)
	}
	return took, apart, sent, nil
}

// idleCPU is how much of one core a process takes while nothing happens.
func idleCPU(ctx context.Context, v view) (percent float64, err error) {
	const long = 10 * time.Second
	before, err := v.cpu()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(long):
	}
	after, err := v.cpu()
	return float64(after-before) / float64(long) * 100, err
}
