package digest

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

// Whatever the parts, it is the digest of the whole.
func TestIsSHA256(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		content := make([]byte, r.IntN(2<<20)>>r.IntN(20))
		for i := range content {
			content[i] = byte(r.Uint32())
		}
		w := New()
		for rest := content; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(200<<10)>>r.IntN(16))
			if wrote, err := w.Write(rest[:n]); wrote != n || err != nil {
				t.Fatal(wrote, err)
			}
			rest = rest[n:]
		}
		if w.Sum() != sha256.Sum256(content) {
			t.Fatalf("%d bytes: another digest", len(content))
		}
	}
}

// The caller's buffer is its own again as soon as Write returns.
func TestKeepsNoPart(t *testing.T) {
	w, buf, all := New(), make([]byte, 100<<10), sha256.New()
	for i := range 20 {
		for j := range buf {
			buf[j] = byte(i + j)
		}
		w.Write(buf)
		all.Write(buf)
	}
	if sum := w.Sum(); string(sum[:]) != string(all.Sum(nil)) {
		t.Error("another digest")
	}
	w.Stop()
	unwanted := New()
	unwanted.Write(make([]byte, 1<<20))
	unwanted.Stop()
	unwanted.Stop()
}
