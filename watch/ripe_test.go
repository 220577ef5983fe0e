package watch

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/kdev-io/kdev/internal/tree"
)

// Files of a burst that have come to rest are taken; what is still written, new, a
// directory or to be looked at in depth waits for the flush.
func TestTakeRipe(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b", "dir/c"} {
		put(t, root, name, "old")
	}
	x, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, p := range []string{".", "a", "b", "dir", "dir/c"} {
		if _, err := x.Settle(p); err != nil {
			t.Fatal(err)
		}
	}
	f, err := newFilter(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	in := newIntake(f, x)
	for _, p := range []string{"a", "b", "dir", "dir/c", "new"} {
		in.mark(p, written)
	}
	in.mark("dir/c", deep)
	if l, ok := in.takeRipe(); ok {
		t.Errorf("just marked: %v", l.dirty)
	}
	in.mark("b", written)
	l, ok := in.takeRipe()
	if got := slices.Sorted(maps.Keys(l.dirty)); !ok || !slices.Equal(got, []string{"a"}) || l.dirty["a"]&written == 0 {
		t.Errorf("%v", l.dirty)
	}
	if n, _, _ := in.peek(); n != 4 {
		t.Errorf("%d paths are left", n)
	}
	for _, p := range []string{".gitignore", "."} {
		in.mark(p, look)
		in.takeRipe() // from here on nothing is fresh
		if l, ok := in.takeRipe(); ok {
			t.Errorf("with %s: %v", p, l.dirty)
		}
	}
}

// What was looked at during a burst, and is written once more before it ends, is reported
// as it is in the end.
func TestBurstThatComesBack(t *testing.T) {
	root := t.TempDir()
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("d/%d", i)
		put(t, root, names[i], "old")
	}
	s := watch(t, Options{Root: root})
	for round := range 3 {
		for i := range 400 {
			s.write(names[i%len(names)], fmt.Sprint("round ", round, i/len(names)))
			s.write("d/busy", fmt.Sprint(round, i))
		}
		s.equal("round %d", round)
	}
}
