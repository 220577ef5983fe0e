package patch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func roundTrip(t testing.TB, old, new []byte) int {
	t.Helper()
	var p bytes.Buffer
	if err := Make(&p, old, bytes.NewReader(new), math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := Apply(&got, bytes.NewReader(old), bytes.NewReader(p.Bytes())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), new) {
		t.Fatalf("%d bytes came back as other %d", len(new), got.Len())
	}
	return p.Len()
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func TestSizes(t *testing.T) {
	big := noise(1, 3<<20)
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(big)) }
	tests := []struct {
		name     string
		old, new []byte
		most     int
	}{
		{"nothing", nil, nil, 16},
		{"from nothing", nil, big[:1000], 1100},
		{"to nothing", big, nil, 16},
		{"the same", big, big, 32},
		{"one byte", big, edit(func(b []byte) []byte { b[1<<20]++; return b }), 200},
		{"one byte every page", big, edit(func(b []byte) []byte {
			for i := 0; i < len(b); i += 4096 {
				b[i+100]++
			}
			return b
		}), len(big) / 100},
		{"inserted at the front", big, append([]byte("a few bytes"), big...), 400},
		{"removed from the middle", big, append(bytes.Clone(big[:1<<20]), big[1<<20+777:]...), 400},
		{"halves changed places", big, append(bytes.Clone(big[len(big)/2+13:]), big[:len(big)/2+13]...), 4096},
		{"appended", big, append(bytes.Clone(big), "more"...), 200},
		{"another file", big, noise(2, 1<<20), 1<<20 + 4096},
		{"zeros", make([]byte, 1<<20), make([]byte, 2<<20), 8192},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if n := roundTrip(t, tt.old, tt.new); n > tt.most {
				t.Errorf("a patch of %d bytes, want at most %d", n, tt.most)
			}
		})
	}
}

func TestRandomEdits(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		old := noise(byte(seed), r.IntN(20000))
		new := bytes.Clone(old)
		for range r.IntN(10) {
			at, n := r.IntN(len(new)+1), r.IntN(300)
			switch r.IntN(3) {
			case 0:
				new = append(new[:at:at], append(noise(byte(n), n), new[at:]...)...)
			case 1:
				new = append(new[:at:at], new[min(at+n, len(new)):]...)
			default:
				for i := at; i < min(at+n, len(new)); i += 1 + r.IntN(9) {
					new[i]++
				}
			}
		}
		roundTrip(t, old, new)
	}
}

func TestEqualBytes(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 4))
		a := noise(byte(seed), r.IntN(70))
		b := bytes.Clone(a)
		want := len(a)
		for i := range b {
			if r.IntN(3) == 0 {
				b[i] ^= byte(1 << r.IntN(8))
				want--
			}
		}
		if got := equalBytes(a, b); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	}
}

func TestLimit(t *testing.T) {
	err := Make(io.Discard, nil, bytes.NewReader(noise(1, 1<<20)), 1000)
	if !errors.Is(err, ErrTooBig) {
		t.Errorf("error %v", err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("some old bytes"), []byte("some new bytes"), 3)
	f.Add(bytes.Repeat([]byte("0123456789abcdef"), 20), bytes.Repeat([]byte("123456789abcdef0"), 20), 7)
	f.Fuzz(func(t *testing.T, a, b []byte, times int) {
		// Long enough that the index has something to find.
		old := bytes.Repeat(a, 1+min(max(times, 0), 50))
		roundTrip(t, old, append(bytes.Clone(old), b...))
		roundTrip(t, old, append(bytes.Clone(b), old...))
		roundTrip(t, a, b)
	})
}

// bounded is a writer that a hostile patch cannot make grow.
type bounded struct{ left int }

var errFull = errors.New("full")

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func FuzzApply(f *testing.F) {
	old := noise(9, 5000)
	for _, new := range [][]byte{nil, old, old[100:], []byte("x")} {
		var p bytes.Buffer
		if err := Make(&p, old, bytes.NewReader(new), math.MaxInt64); err != nil {
			f.Fatal(err)
		}
		f.Add(p.Bytes())
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		err := Apply(&bounded{1 << 20}, bytes.NewReader(old), bytes.NewReader(p))
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, errFull) {
			t.Fatalf("%T %v", err, err)
		}
	})
}

// programs builds a program twice, with one line changed in between.
func programs(b *testing.B) (old, new []byte) {
	b.Helper()
	dir := b.TempDir()
	var versions [][]byte
	for _, line := range []string{`fmt.Println("hello")`, `fmt.Println("hello, somewhat changed", len(os.Args))`} {
		main := "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n\t\"os\"\n\t\"encoding/json\"\n\t\"text/template\"\n)\n\nfunc main() {\n\t" + line +
			"\n\t_ = json.NewEncoder(os.Stdout).Encode(template.New(\"x\"))\n\tfmt.Println(http.ListenAndServe(\"\", nil))\n}\n"
		for name, text := range map[string]string{"main.go": main, "go.mod": "module x\n\ngo 1.26\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", "x", ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "x"))
		if err != nil {
			b.Fatal(err)
		}
		versions = append(versions, data)
	}
	return versions[0], versions[1]
}

func BenchmarkLinkedProgram(b *testing.B) {
	old, new := programs(b)
	b.SetBytes(int64(len(new)))
	var p bytes.Buffer
	var apply time.Duration
	for b.Loop() {
		p.Reset()
		if err := Make(&p, old, bytes.NewReader(new), math.MaxInt64); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := Apply(io.Discard, bytes.NewReader(old), bytes.NewReader(p.Bytes())); err != nil {
			b.Fatal(err)
		}
		apply += time.Since(began)
	}
	b.ReportMetric(float64(p.Len())*100/float64(len(new)), "%-sent")
	b.ReportMetric(float64(apply.Milliseconds())/float64(b.N), "ms-apply")
}

func BenchmarkOneByteOf100MB(b *testing.B) {
	old := noise(1, 100<<20)
	new := bytes.Clone(old)
	new[50<<20]++
	b.SetBytes(int64(len(new)))
	var p bytes.Buffer
	for b.Loop() {
		p.Reset()
		if err := Make(&p, old, bytes.NewReader(new), math.MaxInt64); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(p.Len()), "bytes-sent")
}

func ExampleApply() {
	old := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog. ", 40))
	new := bytes.Replace(old, []byte("lazy"), []byte("sleepy"), 1)
	var p bytes.Buffer
	if err := Make(&p, old, bytes.NewReader(new), math.MaxInt64); err != nil {
		fmt.Println(err)
	}
	var got bytes.Buffer
	if err := Apply(&got, bytes.NewReader(old), &p); err != nil {
		fmt.Println(err)
	}
	fmt.Println(bytes.Equal(got.Bytes(), new))
	// Output: true
}
