package tree

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"
)

// A glance says what single questions say, and has small contents at hand.
func TestGlanceHashes(t *testing.T) {
	x := open(t)
	for name, content := range map[string]string{"a/one": "1", "a/two": "22", "b/c/empty": "", "top": "t"} {
		write(t, x, name, content)
		age(t, x, name, time.Hour)
	}
	big := bytes.Repeat([]byte("x"), recentFile+1)
	write(t, x, "b/big", string(big))
	link(t, x, "a/one", "link")
	link(t, x, "a", "in")
	other, err := Open(x.Root())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	g := x.Glance()
	defer g.Close()
	small := map[string]bool{"a/one": true, "a/two": true, "b/c/empty": true, "top": true}
	for _, p := range []string{"a/one", "a/two", "b/c/empty", "b/big", "link", "top", "a", "in/one", "none", "b/none"} {
		want, wantErr := other.Hash(context.Background(), p)
		got, err := g.Hash(context.Background(), p)
		if got != want || (err == nil) != (wantErr == nil) || errors.Is(err, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) {
			t.Errorf("%s: %v, %v; want %v, %v", p, got, err, want, wantErr)
		}
		if !small[p] {
			continue
		}
		local, err := os.ReadFile(x.Abs(p))
		if err != nil {
			t.Fatal(err)
		}
		if content, ok := x.Recent(got); !ok || !bytes.Equal(content, local) {
			t.Errorf("%s: its content at hand is %q, %v", p, content, ok)
		}
		if d, ok := x.Known(p); !ok || d != want {
			t.Errorf("%s is not remembered", p)
		}
	}
	if _, ok := x.Recent(Digest{1}); ok {
		t.Error("a content that nobody read")
	}

	// Another directory takes the place of the one that is open.
	if err := os.Rename(x.Abs("a"), x.Abs("old")); err != nil {
		t.Fatal(err)
	}
	write(t, x, "a/one", "another")
	g2 := x.Glance()
	defer g2.Close()
	if d, err := g2.Hash(context.Background(), "a/one"); err != nil || d != sha256.Sum256([]byte("another")) {
		t.Errorf("a/one after the change: %v, %v", d, err)
	}
	if err := os.Rename(x.Abs("a"), x.Abs("older")); err != nil {
		t.Fatal(err)
	}
	write(t, x, "a/one", "the third")
	if d, err := g2.Hash(context.Background(), "a/one"); err != nil || d != sha256.Sum256([]byte("the third")) {
		t.Errorf("a/one while its directory is open: %v, %v", d, err)
	}
}

func TestRecentIsBounded(t *testing.T) {
	x := open(t)
	g := x.Glance()
	defer g.Close()
	const files = recentAll/recentFile + 10
	var digests []Digest
	for i := range files {
		name := fmt.Sprint("f", i)
		write(t, x, name, fmt.Sprintf("%*d", recentFile, i))
		d, err := g.Hash(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	if _, ok := x.Recent(digests[0]); ok || x.recents.size > recentAll || len(x.recents.have) != len(x.recents.order) {
		t.Errorf("%d bytes of %d files are at hand, the oldest too: %v", x.recents.size, len(x.recents.have), ok)
	}
	if _, ok := x.Recent(digests[files-1]); !ok {
		t.Error("the newest is not")
	}
}

// A big file that was saved a moment ago is read once, whoever asks for its digest.
func TestBigFileIsReadOnce(t *testing.T) {
	x := open(t)
	write(t, x, "big", string(bytes.Repeat([]byte("x"), slowToRead)))
	g := x.Glance()
	defer g.Close()
	e, ok, err := g.Stat("big")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	d, err := g.HashOf(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	if known, ok := x.Known("big"); !ok || known != d {
		t.Error("its digest does not count")
	}
}
