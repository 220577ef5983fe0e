package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/engine"
)

// A local file or directory that is there and cannot be read must not hold up the others:
// they go to the containers, which keep what they have of it, and it is named.

// again keeps a path that could not be read for the next change of the service.
func (f *feeder) again(rel string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		f.pending = map[string]dockerfile.Verdict{}
	}
	if _, marked := f.pending[rel]; !marked {
		f.pending[rel] = f.plan.explain(rel)
	}
}

// tellUnread names what could not be read, once for as long as it stays so.
func (f *feeder) tellUnread(ctx context.Context, unread map[string]error) {
	news := map[string]error{}
	for local, err := range unread {
		rel := f.inContext(local)
		if f.unread[rel] == err.Error() {
			continue
		}
		if f.unread == nil {
			f.unread = map[string]string{}
		}
		f.unread[rel], news[local] = err.Error(), err
	}
	if len(news) > 0 {
		f.fail(ctx, unreadProblem(news, f.service))
	}
}

// opened says whether a directory that could not be read can be now, or is gone: what
// is below it has to be looked at as a whole.
func (f *feeder) opened() bool {
	return slices.ContainsFunc(f.closed, func(local string) bool { return f.forbidden(local) == nil })
}

// shut says why a directory, as it is now, may not be read; nil of anything else.
func (f *feeder) shut(file *engine.File) error {
	if file == nil || !file.Mode.IsDir() || file.Mode&0o555 == 0o555 {
		return nil
	}
	return f.forbidden(file.Local)
}

// forbidden says why a directory may not be read: neither its names nor what they stand for.
func (f *feeder) forbidden(local string) error {
	_, err := f.s.parts.Index.ReadDir(local, func(string, bool) bool { return true })
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// inContext turns a path of the index into one of the context.
func (f *feeder) inContext(local string) string {
	if dir := f.local("."); dir != "." {
		return strings.TrimPrefix(local, dir+"/")
	}
	return local
}

// unreadProblem names local files that are there and cannot be read.
func unreadProblem(unread map[string]error, service string) *problem.Problem {
	names := slices.Sorted(maps.Keys(unread))
	p := &problem.Problem{
		Code: "sync-read", Where: service, Summary: names[0] + " cannot be read", Err: causeOf(unread[names[0]]),
		Hint: "make it readable, or leave it out by a line of .dockerignore",
	}
	switch n := len(names) - 1; n {
	case 0:
	case 1:
		p.Summary += " (and one more file)"
	default:
		p.Summary += fmt.Sprintf(" (and %d more files)", n)
	}
	return p
}

// causeOf is an error without the path that the sentence around it names.
func causeOf(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
