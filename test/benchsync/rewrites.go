package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// A file is rewritten again and again while somebody reads it all the time.
func rewrites(ctx context.Context, r *rig, o options) (rows []result, err error) {
	p, down, err := r.small(ctx, nil, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	where, err := p.find("web", 1)
	if err != nil {
		return nil, err
	}
	const size = 8 << 10
	if err := p.replace(0, size); err != nil {
		return nil, err
	}
	if err := until(ctx, "the first version", func() bool { return where[0].begins("/app/src/file.txt", version(0), size) }); err != nil {
		return nil, err
	}
	var reads, missing, empty, short, mixed atomic.Int64
	reading, stop := context.WithCancel(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for reading.Err() == nil {
			content, err := os.ReadFile(where[0].root + "/app/src/file.txt")
			reads.Add(1)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				missing.Add(1)
			case err != nil || len(content) == 0:
				empty.Add(1)
			case len(content) != size:
				short.Add(1)
			case !strings.HasSuffix(string(content), string(content[:20])):
				mixed.Add(1)
			}
		}
	})
	for i := range o.rewrites {
		if err = p.replace(i+1, size); err != nil {
			break
		}
		err = until(ctx, version(i+1), func() bool { return where[0].begins("/app/src/file.txt", version(i+1), size) })
		if err != nil {
			break
		}
	}
	stop()
	reader.Wait()
	return []result{
		shown("rewrites under a reader", float64(o.rewrites), ""),
		shown("rewrites under a reader: reads", float64(reads.Load()), ""),
		exactly("rewrites under a reader: file missing", float64(missing.Load()), "", 0),
		exactly("rewrites under a reader: file empty", float64(empty.Load()), "", 0),
		exactly("rewrites under a reader: file short", float64(short.Load()), "", 0),
		exactly("rewrites under a reader: two versions mixed", float64(mixed.Load()), "", 0),
	}, err
}

// version is what a version begins and ends with.
func version(i int) string { return fmt.Sprintf("version %012d", i) }

// replace puts a whole file in the place of the last one, so that what is read
// here is never half a file either.
func (p *project) replace(i, size int) error {
	v := version(i)
	name := filepath.Join(p.dir, "web", "src", "file.txt")
	temp := filepath.Join(p.dir, ".next")
	if err := os.WriteFile(temp, []byte(v+strings.Repeat("x", size-2*len(v))+v), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, name)
}
