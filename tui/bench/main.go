//go:build unix

// Command bench measures the dashboard under load and at rest, each figure beside
// its aim.
//
//	go run ./tui/bench               table on stderr, JSON on stdout
//	go run ./tui/bench -for 30s      longer under load
//
// The load: 100,000 lines in the store, 10,000 lines a second arriving from 100
// services of three pods each, five changes of state and ten keys a second, on a
// screen of 200 columns and 60 rows. The processor time is that of the whole
// process, the writer of the lines included. It needs no cluster and no terminal.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	length := flag.Duration("for", 15*time.Second, "how long the load lasts; rest takes as long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := measure(ctx, *length)
	if err != nil {
		log.Fatalf("bench: %v", err)
	}
	missed := 0
	for _, r := range results {
		word := "ok"
		if r.Value > r.Aim {
			word, missed = "MISSED", missed+1
		}
		log.Printf("%-44s %10.2f %-5s aim %8.2f  %s", r.Name, r.Value, r.Unit, r.Aim, word)
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		log.Fatalf("bench: %v", err)
	}
	if missed > 0 {
		log.Fatalf("bench: %d of %d aims missed", missed, len(results))
	}
}

// A result is a row of the table.
type result struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Aim   float64 `json:"aim"` // the largest value that is good enough
}

func measure(ctx context.Context, length time.Duration) ([]result, error) {
	debug.SetGCPercent(25) // as kdev up does
	l := newLoad()
	l.fill(stored)
	results := searches(l)
	d := show(ctx, l)
	defer d.close()
	if err := d.drawn(ctx); err != nil {
		return nil, err
	}
	busy, err := d.busy(ctx, l, length)
	if err != nil {
		return nil, err
	}
	idle, err := d.idle(ctx, length)
	if err != nil {
		return nil, err
	}
	return slices.Concat(busy, idle, results), nil
}

// busy is a time with lines, states and keys.
func (d *dashboard) busy(ctx context.Context, l *load, length time.Duration) ([]result, error) {
	before := d.counts()
	spent := processor()
	start := time.Now()
	loading, stop := context.WithTimeout(ctx, length)
	defer stop()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		l.feed(loading)
	}()
	keys := time.NewTicker(100 * time.Millisecond)
	defer keys.Stop()
	for i := 0; loading.Err() == nil; i++ {
		select {
		case <-loading.Done():
		case <-keys.C:
			if err := d.press(ctx, script[i%len(script)]); err != nil {
				return nil, err
			}
		}
	}
	<-fed
	took := time.Since(start).Seconds()
	after := d.counts()
	views, paints := after.views[len(before.views):], after.paints[len(before.paints):]
	if len(views) == 0 || len(paints) == 0 {
		return nil, fmt.Errorf("nothing was drawn under load")
	}
	return []result{
		{"a View, 99 of 100", percentile(views, 99), "ms", 4},
		{"a key to its picture, 99 of 100", percentile(paints, 99), "ms", 50},
		{"flushes a second", float64(after.flushes-before.flushes) / took, "/s", 30},
		{"processor under load, of one core", 100 * (processor() - spent).Seconds() / took, "%", 25},
		{"memory, the most that was resident", float64(resident()) / (1 << 20), "MB", 150},
	}, ctx.Err()
}

// idle is a time in which nothing happens.
func (d *dashboard) idle(ctx context.Context, length time.Duration) ([]result, error) {
	if err := d.settled(ctx); err != nil {
		return nil, err
	}
	before, spent, start := d.counts(), processor(), time.Now()
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	took := time.Since(start).Seconds()
	after := d.counts()
	return []result{
		{"processor at rest, of one core", 100 * (processor() - spent).Seconds() / took, "%", 1},
		{"frames at rest", float64(len(after.views) - len(before.views)), "", 0},
		{"bytes at rest", float64(after.bytes - before.bytes), "", 0},
	}, nil
}

func percentile(all []time.Duration, of int) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, len(sorted)*of/100)].Seconds() * 1000
}
