package digest

import (
	"crypto/sha256"
	"hash"
	"runtime"
)

const (
	alone  = 256 << 10 // bytes that are not worth a goroutine
	part   = 64 << 10
	buffer = 3 // parts
)

// A Writer takes the stream. Sum or Stop ends it. Not safe for concurrent use.
type Writer struct {
	h    hash.Hash
	size int64

	now  []byte      // the part that is being filled
	full chan []byte // on their way to the goroutine; nil while there is none
	free chan []byte
	done chan struct{}
}

// New begins a stream.
func New() *Writer { return &Writer{h: sha256.New()} }

// Write never fails.
func (w *Writer) Write(p []byte) (int, error) {
	n := len(p)
	w.size += int64(n)
	if w.full == nil {
		if w.size <= alone || runtime.GOMAXPROCS(0) == 1 {
			return w.h.Write(p)
		}
		w.start()
	}
	for len(p) > 0 {
		if w.now == nil {
			w.now = (<-w.free)[:0]
		}
		took := min(len(p), part-len(w.now))
		w.now = append(w.now, p[:took]...)
		p = p[took:]
		if len(w.now) == part {
			w.full <- w.now
			w.now = nil
		}
	}
	return n, nil
}

func (w *Writer) start() {
	w.full, w.free, w.done = make(chan []byte, buffer), make(chan []byte, buffer), make(chan struct{})
	for range buffer {
		w.free <- make([]byte, 0, part)
	}
	go func() {
		defer close(w.done)
		for p := range w.full {
			w.h.Write(p)
			w.free <- p
		}
	}()
}

// Sum is the digest of all that was written.
func (w *Writer) Sum() (d [sha256.Size]byte) {
	if w.now != nil {
		w.full <- w.now
		w.now = nil
	}
	w.Stop()
	w.h.Sum(d[:0])
	return d
}

// Stop ends a stream whose digest nobody wants. It may come after Sum.
func (w *Writer) Stop() {
	if w.full != nil {
		close(w.full)
		<-w.done
		w.full = nil
	}
}
