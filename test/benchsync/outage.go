package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kdev-io/kdev/sync/transport"
	"github.com/kdev-io/kdev/sync/transport/transporttest"
)

// The network is away for a minute, in which a file is saved.
func outage(ctx context.Context, r *rig, _ options) (rows []result, err error) {
	const away = time.Minute
	proxy, through, err := transporttest.New(r.kube.Config)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	s := newSet(100, 4<<10)
	p, down, err := r.withSet(ctx, transport.Exec(through), s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 1)
	if err != nil {
		return nil, err
	}
	proxy.Sink()
	defer proxy.Rise()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(away):
	}
	const round = "saved meanwhile"
	if err := p.file("web/"+s.names[7], s.content(round, 7)); err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // it is saved well before the way back
	before := p.wire.now()
	proxy.Rise()
	back := time.Now()
	err = until(ctx, round, func() bool { return where[0].begins("/app/"+s.names[7], s.head(round, 7), s.size) })
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.said())
	}
	took := ms(time.Since(back))
	sent := p.wire.now().since(before).sent
	return []result{
		atMost("network away for 60 s: current after the way back", took, "ms", 1000),
		atMost("network away for 60 s: sent then, of the file", float64(sent)/float64(s.size), "times", 1.5),
	}, nil
}
