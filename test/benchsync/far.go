package main

import (
	"context"
	"errors"
	"time"

	"github.com/kdev-io/kdev/sync/transport"
	"github.com/kdev-io/kdev/sync/transport/transporttest"
)

type dialer = transport.Dialer

// A cluster that is 50 ms away, each way.
func far(ctx context.Context, r *rig, o options) (rows []result, err error) {
	const delay = 50 * time.Millisecond
	proxy, through, err := transporttest.New(r.kube.Config)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	proxy.SetDelay(delay)
	s := newSet(1000, 1<<10)
	p, down, err := r.withSet(ctx, transport.Exec(through), s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 1)
	if err != nil {
		return nil, err
	}
	took, _, _, err := p.saveAndLook(ctx, where, 10<<10, o.saves/5)
	if err != nil {
		return nil, err
	}
	burst, _, batches, err := p.bursts(ctx, s, 5)
	if err != nil {
		return nil, err
	}
	return []result{
		atMost("50 ms each way: save -> readable, p50", median(took), "ms", ms(2*delay)+15).with(took),
		shown("50 ms each way: save -> readable, p95", quantile(took, 0.95), "ms"),
		shown("50 ms each way: 1,000 files after the last write, p50", median(burst), "ms").with(burst),
		exactly("50 ms each way: 1,000 files: batches", batches, "", 1),
	}, nil
}
