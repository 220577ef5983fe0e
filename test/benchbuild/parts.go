package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/test/figures"
	"github.com/kdev-io/kdev/test/runner"
)

const (
	smallImage = "FROM busybox:1\nWORKDIR /app\nCOPY . .\nCMD [\"sh\", \"run.sh\"]\n"
	largeImage = "FROM busybox:1\nRUN dd if=/dev/urandom of=/big bs=1M count=%d\nWORKDIR /app\nCOPY . .\nCMD [\"sh\", \"run.sh\"]\n"
)

// edits measures a service whose one COPY layer changes, alone and on a large image.
func (b *bench) edits(ctx context.Context) error {
	small, err := b.project("small", 1, smallImage)
	if err != nil {
		return err
	}
	if err := b.editsOf(ctx, small, "a small image", 750, true); err != nil {
		return err
	}
	if b.o.big == 0 {
		return nil
	}
	large, err := b.project("large", 1, fmt.Sprintf(largeImage, b.o.big))
	if err != nil {
		return err
	}
	return b.editsOf(ctx, large, fmt.Sprintf("an image of %d MB", b.o.big), 850, false)
}

func (b *bench) editsOf(ctx context.Context, p *project, what string, aim float64, withFloor bool) (err error) {
	if err := p.up(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.down(ctx)) }()
	svc := p.services[0]
	var whole, floors []time.Duration
	var moved, allowed []float64
	first, err := p.image(ctx, svc)
	if err != nil {
		return err
	}
	for range b.o.runs {
		before, err := p.image(ctx, svc)
		if err != nil {
			return err
		}
		sent, err := b.sent(ctx)
		if err != nil {
			return err
		}
		took, err := p.save(ctx, svc)
		if err != nil {
			return err
		}
		whole = append(whole, took)
		if err := errors.Join(p.session.Until(runner.Ready), p.settled(ctx)); err != nil {
			return err
		}
		now, err := b.sent(ctx)
		if err != nil {
			return err
		}
		after, err := p.image(ctx, svc)
		if err != nil {
			return err
		}
		_, size, err := p.newLayers(before, after)
		if err != nil {
			return err
		}
		moved, allowed = append(moved, float64(now-sent)), append(allowed, 1.2*float64(size)+64<<10)
	}
	last, err := p.image(ctx, svc)
	if err != nil {
		return err
	}
	f, err := p.floor(ctx, first, last)
	if err != nil {
		return err
	}
	for i := range b.o.runs + 2 {
		took, err := f.rollout(ctx, svc)
		if err != nil {
			return err
		}
		if i >= 2 { // from then on the node has both
			floors = append(floors, took)
		}
	}
	if err := f.remove(ctx); err != nil {
		return err
	}
	least, all := figures.Median(floors)
	b.table.Add(figures.Figure{Name: what + ", floor: one request to new process: median", Value: least, Unit: "ms", All: all})
	ms, all := figures.Median(whole)
	b.table.Add(figures.Figure{Name: what + ", save to new process: median", Value: ms, Unit: "ms", Aim: aim, All: all})
	beyond := figures.Figure{Name: what + ", beyond the floor", Value: ms - least, Unit: "ms"}
	if withFloor {
		beyond.Aim = 100
	}
	b.table.Add(beyond)
	slices.Sort(moved)
	slices.Sort(allowed)
	b.table.Add(figures.Figure{Name: what + ", to the node: median", Value: moved[len(moved)/2], Unit: "bytes", Aim: allowed[len(allowed)/2], All: moved})
	return nil
}

// fleet counts what one change of twenty services sets in motion.
func (b *bench) fleet(ctx context.Context) (err error) {
	p, err := b.project("fleet", 20, smallImage)
	if err != nil {
		return err
	}
	if err := p.up(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.down(ctx)) }()
	svc := p.services[7]
	before, err := p.image(ctx, svc)
	if err != nil {
		return err
	}
	generations := func() (map[string]int64, error) {
		all, err := p.kube.Core.AppsV1().Deployments(p.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		out := map[string]int64{}
		for _, d := range all.Items {
			out[d.Name] = d.Generation
		}
		return out, nil
	}
	old, err := generations()
	if err != nil {
		return err
	}
	builds := 0
	if _, err := p.save(ctx, svc); err != nil {
		return err
	}
	err = p.session.Until(func(e runner.Event) bool {
		if e.Code == "build-started" {
			builds++
		}
		return runner.Ready(e)
	})
	if err != nil {
		return err
	}
	after, err := p.image(ctx, svc)
	if err != nil {
		return err
	}
	layers, _, err := p.newLayers(before, after)
	if err != nil {
		return err
	}
	current, err := generations()
	if err != nil {
		return err
	}
	patched := 0
	for name, g := range current {
		if old[name] != g {
			patched++
		}
	}
	for _, n := range []struct {
		what  string
		count int
	}{{"builds", builds}, {"new layers", layers}, {"objects patched", patched}} {
		b.table.Add(figures.Figure{Name: "20 services, one changed: " + n.what, Value: float64(n.count), Aim: 1})
	}
	return nil
}

// nodes measures ten services that change at once on three nodes, against one of them.
func (b *bench) nodes(ctx context.Context) (err error) {
	p, err := b.project("ten", 10, smallImage)
	if err != nil {
		return err
	}
	if err := p.up(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.down(ctx)) }()
	const rounds = 7
	saved := func(services ...string) (ms float64, all []float64, err error) {
		var took []time.Duration
		for range rounds {
			d, err := p.save(ctx, services...)
			if err != nil {
				return 0, nil, err
			}
			took = append(took, d)
			if err := errors.Join(p.session.Until(runner.Ready), p.settled(ctx)); err != nil {
				return 0, nil, err
			}
		}
		ms, all = figures.Median(took)
		return ms, all, nil
	}
	one, all, err := saved(p.services[0])
	if err != nil {
		return err
	}
	b.table.Add(figures.Figure{Name: "3 nodes, one service saved, to its new process: median", Value: one, Unit: "ms", All: all})
	ten, all, err := saved(p.services...)
	if err != nil {
		return err
	}
	b.table.Add(figures.Figure{Name: "3 nodes, ten services saved at once, to the last new process: median", Value: ten, Unit: "ms", Aim: 2 * one, All: all})
	f, err := p.floor(ctx)
	if err != nil {
		return err
	}
	rolled := func(services ...string) (ms float64, all []float64, err error) {
		var took []time.Duration
		for range rounds {
			d, err := f.rollout(ctx, services...)
			if err != nil {
				return 0, nil, err
			}
			took = append(took, d)
		}
		ms, all = figures.Median(took)
		return ms, all, nil
	}
	if one, all, err = rolled(p.services[0]); err != nil {
		return err
	}
	b.table.Add(figures.Figure{Name: "3 nodes, floor of one: a request to its new process: median", Value: one, Unit: "ms", All: all})
	if ten, all, err = rolled(p.services...); err != nil {
		return err
	}
	b.table.Add(figures.Figure{Name: "3 nodes, floor of ten: requests to the last new process: median", Value: ten, Unit: "ms", All: all})
	return f.remove(ctx)
}
