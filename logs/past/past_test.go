package past

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/kdev-io/kdev/logs/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fill puts lines from..to of one container into a new store.
func fill(from, to int) *store.Store {
	st := store.New(64 << 20)
	src := st.AddSource(store.Source{Namespace: "default", Pod: "web-1", Container: "web", PodUID: "u1"})
	app := st.Appender(src)
	defer app.Close()
	for i := from; i < to; i++ {
		msg := fmt.Sprintf("line %d", i)
		n := copy(app.Free(len(msg)), msg)
		app.Grow(n)
		app.Add(store.Line{Time: int64(i + 1), Level: 3}, 0, n)
		app.Consume(n)
		app.CommitNow()
	}
	return st
}

func keep(t *testing.T, dir string, limit int64, st *store.Store) {
	t.Helper()
	w, err := Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what the store holds is kept before Run looks at ctx
	if err := w.Run(ctx, st); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	if err := Read(dir, func(src *store.Source, l store.Line, msg []byte) error {
		if src.Pod != "web-1" || l.Level != 3 {
			t.Errorf("%q comes from %+v, %+v", msg, src, l)
		}
		out = append(out, string(msg))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKeepsEachLineOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	keep(t, dir, Limit, fill(0, 100))
	keep(t, dir, Limit, fill(50, 150)) // half of them were read again
	got := read(t, dir)
	if len(got) != 150 {
		t.Fatalf("%d lines", len(got))
	}
	for i, line := range got {
		if want := fmt.Sprintf("line %d", i); line != want {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	list, err := files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
}

func TestDropsTheOldest(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		keep(t, dir, 2*fileBytes, fill(i*100_000, (i+1)*100_000))
	}
	list, err := files(dir)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, path := range list {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 2*fileBytes {
		t.Errorf("%d bytes are kept", total)
	}
	got := read(t, dir)
	if last := got[len(got)-1]; last != "line 499999" {
		t.Errorf("the last line is %q", last)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, Limit)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := Open(dir, Limit); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestReadsWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, Limit, fill(0, 100))
	list, err := files(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(list[0])
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(b) {
		if err := os.WriteFile(list[0], b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		for i, line := range read(t, dir) {
			if want := fmt.Sprintf("line %d", i); line != want {
				t.Fatalf("cut at %d, line %d is %q", cut, i, line)
			}
		}
	}
}

func FuzzReadFile(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "1"+suffix)
	src := &store.Source{Pod: "web-1"}
	f.Add(appendLine(appendSource([]byte(head), 0, src), 0, store.Line{Time: 7}, []byte("text")))
	f.Add([]byte(head + "L"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Read(dir, func(*store.Source, store.Line, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
