package transcript

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/problem"
)

// Limit is how large a file may become, and End how much of that is for the
// last lines: those between are counted. Kept is how many files of a service stay.
const (
	Limit = 8 << 20
	End   = 1 << 20
	Kept  = 10
)

// Keep writes what each build of inner prints into dir. now is the clock.
func Keep(inner build.Builder, dir string, now func() time.Time) build.Builder {
	return &keeper{inner, dir, now}
}

type keeper struct {
	inner build.Builder
	dir   string
	now   func() time.Time
}

func (k *keeper) Build(ctx context.Context, spec build.Spec, progress build.Progress) (*build.Result, error) {
	t := &transcript{keeper: k, own: spec.Service, of: map[string]*writer{}}
	own := t.writer(spec.Service)
	r, err := k.inner.Build(ctx, spec, func(e build.Event) {
		t.writer(e.Service).event(e)
		if progress != nil {
			progress(e)
		}
	})
	return r, t.end(ctx, own, err)
}

// A transcript is what a build prints: of its own service, and of the images of
// the project that it begins with and that are made for it.
type transcript struct {
	keeper *keeper
	own    string

	mu sync.Mutex
	of map[string]*writer
}

// writer is that of a service. What belongs to none is the build's own.
func (t *transcript) writer(service string) *writer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if service == "" {
		service = t.own
	}
	w := t.of[service]
	if w == nil {
		w = &writer{keeper: t.keeper, service: service}
		t.of[service] = w
	}
	return w
}

// end notes in all files how the build ended. The failure is that of whoever
// printed what it shows.
func (t *transcript) end(ctx context.Context, own *writer, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	failed := own
	if p := problem.As(err); p != nil && !own.printed(p.Output) {
		for _, w := range t.of {
			if w.printed(p.Output) {
				failed = w
			}
		}
	}
	out := failed.end(ctx, err)
	for _, w := range t.of {
		switch {
		case w == failed:
		case w == own:
			_ = w.end(ctx, err) // the failure was told with the other one's file
		default:
			_ = w.end(ctx, nil)
		}
	}
	return out
}

// A writer writes the file of one build, which begins with its first line. A
// file that cannot be written is given up.
type writer struct {
	keeper  *keeper
	service string

	mu      sync.Mutex
	file    *os.File
	given   bool // up
	size    int
	lines   int
	last    string   // line of output
	tail    []string // what was printed last, after what is in the file
	waiting int      // size of tail
	dropped int      // lines between the file and tail
	step    string   // whose lines are being written
}

// printed says whether the output ends with what was printed last.
func (w *writer) printed(output string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	output = strings.TrimRight(output, "\n")
	return w.lines > 0 && output != "" && output[strings.LastIndexByte(output, '\n')+1:] == w.last
}

func (w *writer) event(e build.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := ""
	if e.Took > 0 {
		took = " in " + e.Took.String()
	}
	switch {
	case e.Warning != "":
		w.line("warning: " + e.Warning)
	case e.Line != "":
		if e.Step != w.step {
			w.step = e.Step
			w.line("== " + e.Step)
		}
		w.lines++
		w.last = e.Line
		w.line(e.Line)
	case e.Done && e.Cached:
		w.line("== " + e.Step + ": found, nothing was run")
	case e.Done:
		w.line("== " + e.Step + ": done" + took)
	}
}

// line writes a line, or keeps it for the end once the file is as long as it may
// become before that.
func (w *writer) line(text string) {
	if w.given || !w.open() {
		return
	}
	if len(w.tail) == 0 && w.dropped == 0 && w.size+len(text) < Limit-End {
		w.write(text)
		return
	}
	text = text[max(0, len(text)-End/2):]
	w.tail = append(w.tail, text)
	w.waiting += len(text) + 1
	for w.waiting > End {
		w.waiting -= len(w.tail[0]) + 1
		w.tail = w.tail[1:]
		w.dropped++
	}
}

func (w *writer) write(text string) {
	n, err := io.WriteString(w.file, text+"\n")
	w.size += n
	w.given = w.given || err != nil
}

// open begins the file.
func (w *writer) open() bool {
	if w.file != nil {
		return true
	}
	f, err := w.keeper.create(w.service)
	if err != nil {
		w.given = true
		return false
	}
	w.file = f
	return true
}

// end notes how the build ended. A failure that shows only the end of what was
// printed says where all of it is.
func (w *writer) end(ctx context.Context, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := problem.As(err)
	if err != nil && ctx.Err() == nil {
		w.failed(err, p)
	}
	if w.file == nil {
		return err
	}
	if w.dropped > 0 {
		w.write(fmt.Sprintf("== %d lines here were not kept", w.dropped))
	}
	for _, text := range w.tail {
		w.write(text)
	}
	if cerr := w.file.Close(); cerr != nil || w.given || p == nil {
		return err
	}
	shown := strings.Count(strings.TrimRight(p.Output, "\n"), "\n") + 1
	if p.Output == "" || w.lines <= shown {
		return err
	}
	longer := *p
	longer.Output = fmt.Sprintf("… %d lines before: kdev build --log %s\n%s", w.lines-shown, w.service, p.Output)
	return &longer
}

func (w *writer) failed(err error, p *problem.Problem) {
	if p == nil {
		w.line("== failed: " + err.Error())
		return
	}
	w.line("== failed: " + p.Error())
	if p.Hint != "" {
		w.line("== " + p.Hint)
	}
}

// create makes the file of a build and removes those that are too many.
func (k *keeper) create(service string) (*os.File, error) {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, err
	}
	// Names sort by time, and two processes may begin at once.
	f, err := os.CreateTemp(k.dir, service+"."+k.now().UTC().Format("20060102T150405.000000000Z")+".*.log") // 0600
	if err != nil {
		return nil, err
	}
	if all, err := files(k.dir, service); err == nil {
		for _, old := range all[:max(0, len(all)-Kept)] {
			_ = os.Remove(old) // it costs room, nothing else
		}
	}
	return f, nil
}

// files are those of a service, oldest first.
func files(dir, service string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), service+"."); ok && strings.HasSuffix(rest, ".log") && strings.Count(rest, ".") == 3 {
			all = append(all, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(all)
	return all, nil
}

// ErrNone is that of a service of which nothing was kept.
var ErrNone = errors.New("nothing was kept")

// Last is the file of the newest build of a service that printed something.
func Last(dir, service string) (string, error) {
	all, err := files(dir, service)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(all) == 0 {
		return "", ErrNone
	}
	if err != nil {
		return "", err
	}
	return all[len(all)-1], nil
}
