//go:build unix

package cli

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"
)

// TestUntilClosed: what follows ends when its reader does, and not before.
func TestUntilClosed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, end := untilClosed(t.Context(), w)
	if _, err := w.WriteString("a line\n"); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("it ends although somebody reads")
	}
	r.Close()
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Error("nobody reads any more, and it goes on")
	}
	end()

	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, out := range []interface{ Write([]byte) (int, error) }{file, &bytes.Buffer{}} {
		whole, cancel := context.WithCancel(t.Context())
		ctx, end := untilClosed(whole, out)
		if ctx.Err() != nil {
			t.Error("it ends by itself")
		}
		cancel()
		<-ctx.Done()
		end()
	}
}
