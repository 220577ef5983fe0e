package transcript

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/problem"
)

type builderFunc func(context.Context, build.Spec, build.Progress) (*build.Result, error)

func (f builderFunc) Build(ctx context.Context, spec build.Spec, p build.Progress) (*build.Result, error) {
	return f(ctx, spec, p)
}

// clock counts seconds.
func clock() func() time.Time {
	at := time.Unix(0, 0)
	return func() time.Time { at = at.Add(time.Second); return at }
}

func prints(n int, err error) build.Builder {
	return builderFunc(func(_ context.Context, _ build.Spec, p build.Progress) (*build.Result, error) {
		p(build.Event{Step: "RUN make"})
		for i := range n {
			p(build.Event{Step: "RUN make", Line: fmt.Sprintf("line %d", i)})
		}
		if err == nil && n > 0 {
			p(build.Event{Step: "RUN make", Done: true, Took: time.Second})
		}
		return &build.Result{}, err
	})
}

func last(t *testing.T, dir string) string {
	t.Helper()
	file, err := Last(dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "builds")
	now := clock()
	spec := build.Spec{Service: "web"}
	if _, err := Last(dir, "web"); !errors.Is(err, ErrNone) {
		t.Errorf("before any build: %v", err)
	}
	var heard int
	if _, err := Keep(prints(3, nil), dir, now).Build(t.Context(), spec, func(build.Event) { heard++ }); err != nil || heard != 5 {
		t.Errorf("%d events, %v", heard, err)
	}
	if got, want := last(t, dir), "== RUN make\nline 0\nline 1\nline 2\n== RUN make: done in 1s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := Keep(prints(0, nil), dir, now).Build(t.Context(), spec, nil); err != nil || !strings.Contains(last(t, dir), "line 2") {
		t.Error("a build that printed nothing took the place of one that did")
	}

	// The end is shown, the rest is where it says.
	failure := &problem.Problem{Code: "build-failed", Where: "web/Dockerfile:3", Summary: "RUN make failed", Output: "line 98\nline 99", Hint: "mend it"}
	_, err := Keep(prints(100, failure), dir, now).Build(t.Context(), spec, nil)
	p := problem.As(err)
	if p == nil || p.Output != "… 98 lines before: kdev build --log web\nline 98\nline 99" || p.Where != failure.Where {
		t.Errorf("%+v", p)
	}
	if got := last(t, dir); !strings.Contains(got, "\nline 0\n") || !strings.HasSuffix(got, "== failed: web/Dockerfile:3: RUN make failed\n== mend it\n") {
		t.Errorf("kept %q", got)
	}
	if _, err = Keep(prints(2, failure), dir, now).Build(t.Context(), spec, nil); problem.As(err).Output != failure.Output {
		t.Error("all was shown already, and more is promised")
	}
	other := build.Spec{Service: "web.admin"}
	for range 2 * Kept {
		for _, s := range []build.Spec{spec, other} {
			if _, err := Keep(prints(1, nil), dir, now).Build(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, service := range []string{"web", "web.admin"} {
		if all, err := files(dir, service); err != nil || len(all) != Kept {
			t.Errorf("%d files of %s %v", len(all), service, err)
		}
	}
}

// What a parent printed is in a file of its own, and a failure of it is told there.
func TestKeepOfParents(t *testing.T) {
	dir := t.TempDir()
	failure := &problem.Problem{Code: "build-failed", Summary: "base, which it is made from: RUN make failed", Output: "b2\nb3"}
	b := Keep(builderFunc(func(_ context.Context, _ build.Spec, p build.Progress) (*build.Result, error) {
		p(build.Event{Service: "web", Step: "w", Line: "w1"})
		for _, line := range []string{"b1", "b2", "b3"} {
			p(build.Event{Service: "base", Step: "b", Line: line})
		}
		return nil, failure
	}), dir, clock())
	_, err := b.Build(t.Context(), build.Spec{Service: "web"}, nil)
	if p := problem.As(err); p == nil || p.Output != "… 1 lines before: kdev build --log base\nb2\nb3" {
		t.Errorf("%+v", p)
	}
	const end = "== failed: base, which it is made from: RUN make failed\n"
	if got, want := last(t, dir), "== w\nw1\n"+end; got != want {
		t.Errorf("web's file is %q, want %q", got, want)
	}
	file, err := Last(dir, "base")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "== b\nb1\nb2\nb3\n"+end {
		t.Errorf("base's file is %q %v", got, err)
	}
}

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 1<<20)
	b := Keep(builderFunc(func(_ context.Context, _ build.Spec, p build.Progress) (*build.Result, error) {
		for range 20 {
			p(build.Event{Step: "RUN yes", Line: long})
		}
		return nil, errors.New("it broke")
	}), dir, clock())
	if _, err := b.Build(t.Context(), build.Spec{Service: "web"}, nil); err == nil || err.Error() != "it broke" {
		t.Errorf("%v", err)
	}
	got := last(t, dir)
	if len(got) > Limit+100 || !strings.HasSuffix(got, "xxx\n== failed: it broke\n") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-100:])
	}
	// What is left out is in the middle: the end says what went wrong.
	dir = t.TempDir()
	b = Keep(builderFunc(func(_ context.Context, _ build.Spec, p build.Progress) (*build.Result, error) {
		for i := range 10_000 {
			p(build.Event{Step: "RUN make", Line: fmt.Sprintf("line %01000d", i)})
		}
		return nil, errors.New("it broke")
	}), dir, clock())
	if _, err := b.Build(t.Context(), build.Spec{Service: "web"}, nil); err == nil {
		t.Error("did not fail")
	}
	got = last(t, dir)
	head, tail, cut := strings.Cut(got, " lines here were not kept\n")
	if !cut || len(got) > Limit+100 || !strings.HasPrefix(head, "== RUN make\nline 000") || !strings.HasSuffix(tail, "0009999\n== failed: it broke\n") || len(tail) < End*9/10 {
		t.Errorf("%d bytes, %d of them at the end: %q", len(got), len(tail), got[len(got)-100:])
	}

	// Where nothing can be kept, builds go on.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Keep(prints(3, nil), file, clock()).Build(t.Context(), build.Spec{Service: "web"}, nil); err != nil {
		t.Error(err)
	}
	// A cancelled build did not fail.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	clean := t.TempDir()
	_, err := Keep(prints(0, context.Canceled), clean, clock()).Build(ctx, build.Spec{Service: "web"}, nil)
	if _, none := Last(clean, "web"); !errors.Is(err, context.Canceled) || !errors.Is(none, ErrNone) {
		t.Errorf("%v %v", err, none)
	}
}
