package tunnel

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair joins two ends by a stream without a buffer.
func pair(t *testing.T, serve func(*Conn)) (opens, serves *Tunnel) {
	t.Helper()
	a, b := net.Pipe()
	opens, serves = New(a, nil), New(b, serve)
	t.Cleanup(func() { opens.Close(); serves.Close() })
	return opens, serves
}

func open(t *testing.T, tn *Tunnel, port int) *Conn {
	t.Helper()
	c, err := tn.Open(port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func echo(c *Conn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// TestManyAtOnce: what is sent comes back whole, on many connections at a time,
// each with more bytes than its window holds.
func TestManyAtOnce(t *testing.T) {
	tn, _ := pair(t, echo)
	var work sync.WaitGroup
	for i := range 40 {
		work.Go(func() {
			sent := make([]byte, 1<<20+i)
			src := rand.NewChaCha8([32]byte{byte(i)})
			_, _ = src.Read(sent)
			c, err := tn.Open(8000 + i)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			var sending sync.WaitGroup
			sending.Go(func() {
				if _, err := c.Write(sent); err != nil {
					t.Error(err)
				}
				_ = c.CloseWrite()
			})
			got, err := io.ReadAll(c)
			sending.Wait()
			if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
				t.Errorf("connection %d: %d of %d bytes came back, %v", i, len(got), len(sent), err)
			}
		})
	}
	work.Wait()
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if len(tn.conns) != 0 {
		t.Errorf("%d connections are kept", len(tn.conns))
	}
}

// TestNobodyReads: a connection whose other end does not read holds up no other.
func TestNobodyReads(t *testing.T) {
	release := make(chan struct{})
	tn, _ := pair(t, func(c *Conn) {
		if c.Port == 1 {
			<-release
			return
		}
		echo(c)
	})
	stuck := open(t, tn, 1)
	written := make(chan error, 1)
	go func() {
		_, err := stuck.Write(make([]byte, 4*window))
		written <- err
	}()
	c := open(t, tn, 2)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	close(release) // it is closed without having been read
	if err := <-written; err == nil {
		t.Error("all was written to one that was not read")
	}
}

// TestHalves: one direction may end before the other one.
func TestHalves(t *testing.T) {
	tn, _ := pair(t, func(c *Conn) {
		asked, _ := io.ReadAll(c)
		_, _ = c.Write(append([]byte("you said "), asked...))
		_ = c.CloseWrite()
	})
	c := open(t, tn, 1)
	_, _ = c.Write([]byte("this"))
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "you said this" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Write([]byte("more")); err == nil {
		t.Error("written after CloseWrite")
	}
}

func TestEndsWithItsStream(t *testing.T) {
	tn, other := pair(t, func(c *Conn) { _, _ = io.Copy(io.Discard, c) })
	c := open(t, tn, 1)
	other.Close()
	<-tn.Done()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a read says %v", err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a write worked")
	}
	if _, err := tn.Open(2); err == nil {
		t.Error("a connection was opened")
	}
}

// TestSilence: an end of which nothing is heard is given up, also where what is
// written to it goes nowhere.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe() // nobody reads b
		defer b.Close()
		tn := New(a, nil)
		defer tn.Close()
		<-tn.Done()
		if !errors.Is(tn.Err(), ErrSilent) {
			t.Errorf("it ended with %v", tn.Err())
		}
	})
}

// TestConnDone: who serves a connection hears of its end without reading it.
func TestConnDone(t *testing.T) {
	over := make(chan struct{}, 2)
	tn, _ := pair(t, func(c *Conn) {
		<-c.Done()
		over <- struct{}{}
	})
	c := open(t, tn, 1)
	_ = c.CloseWrite()
	_ = c.Close()
	<-over
	c = open(t, tn, 1)
	tn.Close()
	<-c.Done()
	<-over
}

// TestForeignBytes: what is no frame ends the tunnel, and nothing else.
func TestForeignBytes(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"no kind":             {0, 0, 0, 0, 1, 0, 0},
		"a kind of tomorrow":  {99, 0, 0, 0, 1, 0, 0},
		"an open of nobody":   {1, 0, 0, 0, 1, 0, 0},
		"longer than allowed": {2, 0, 0, 0, 1, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			tn := New(a, func(*Conn) {})
			defer tn.Close()
			go func() { _, _ = b.Write(bytes) }()
			<-tn.Done()
			if !errors.Is(tn.Err(), ErrFrame) {
				t.Errorf("it ended with %v", tn.Err())
			}
		})
	}
}

func FuzzTake(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 0, 2, 31, 144, 2, 0, 0, 0, 1, 0, 1, 'x', 3, 0, 0, 0, 1, 0, 0, 4, 0, 0, 0, 1, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 1, 0, 2, 0, 1, 5, 0, 0, 0, 1, 0, 4, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		tn := New(stub{bytes.NewReader(in)}, func(c *Conn) {
			_, _ = io.Copy(io.Discard, c)
			_ = c.CloseWrite()
		})
		<-tn.Done()
		tn.Close()
	})
}

// stub is a stream that takes all that is written.
type stub struct{ io.Reader }

func (stub) Write(b []byte) (int, error) { return len(b), nil }
func (stub) Close() error                { return nil }
