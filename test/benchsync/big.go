package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// One byte of a file of 100 MB changes: how long that takes in a container that may
// have what it wants, and what the agent needs in one that may have 32 MB, where the
// kernel has the container wait for the disk.
func big(ctx context.Context, r *rig, _ options) (rows []result, err error) {
	took, _, _, share, err := r.edits(ctx, "")
	if err != nil {
		return nil, err
	}
	rows = []result{
		atMost("one byte in 100 MB -> readable, p50", median(took), "ms", 500).with(took),
		shown("one byte in 100 MB -> readable, max", quantile(took, 1), "ms"),
		atMost("one byte in 100 MB: of its bytes on the wire", quantile(share, 1), "%", 1).with(share),
	}
	took, peak, heap, _, err := r.edits(ctx, "32Mi")
	if err != nil {
		return rows, err
	}
	return append(rows,
		shown("one byte in 100 MB, in a container of 32 Mi, p50", median(took), "ms").with(took),
		atMost("agent: peak memory, in a container of 32 Mi", peak, "MB", 20),
		atMost("agent: anonymous memory meanwhile (bounds the heap)", heap, "MB", 8)), nil
}

// edits changes a byte several times. peak and heap are the agent's memory, share
// what was sent, in percent of the file.
func (r *rig) edits(ctx context.Context, memory string) (took []float64, peak, heap float64, share []float64, err error) {
	const size = 100 << 20
	p, err := r.newProject("big")
	if err != nil {
		return nil, 0, 0, nil, err
	}
	s := idle("web", 1)
	s.memory = memory
	if err := p.declare(s); err != nil {
		return nil, 0, 0, nil, err
	}
	local := filepath.Join(p.dir, "web", "blob")
	if err := fill(local, size); err != nil {
		return nil, 0, 0, nil, err
	}
	down, err := p.up(ctx, nil)
	if err != nil {
		return nil, 0, 0, nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 1)
	if err != nil {
		return nil, 0, 0, nil, err
	}
	v := where[0]
	// The first version is copied aside to make patches from, behind the first sync.
	time.Sleep(3 * time.Second)
	random := rand.New(rand.NewPCG(2, 2))
	for i := range 8 {
		at, b := random.Int64N(size), byte(i+1)
		before := p.wire.now()
		start := time.Now()
		if err := poke(local, at, b); err != nil {
			return nil, 0, 0, nil, err
		}
		err := until(ctx, "the byte", func() bool {
			if _, anonymous, err := v.memory(); err == nil {
				heap = max(heap, anonymous)
			}
			got, err := peek(v.root+"/app/blob", at)
			return err == nil && got == b
		})
		if err != nil {
			return nil, 0, 0, nil, fmt.Errorf("%w\n%s", err, p.said())
		}
		took = append(took, ms(time.Since(start)))
		share = append(share, float64(p.wire.now().since(before).sent)/size*100)
		time.Sleep(time.Second)
	}
	peak, _, err = v.memory()
	return took, peak, heap, share, err
}

// fill writes bytes that no compression makes less.
func fill(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), size)
	return errors.Join(err, f.Close())
}

func poke(name string, at int64, b byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{b}, at)
	return errors.Join(err, f.Close())
}

func peek(name string, at int64) (byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	return b[0], err
}

func (v view) has(path string) bool {
	_, err := os.Lstat(v.root + path)
	return err == nil
}
