package session

import (
	"context"
	"io/fs"
	"runtime"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

// Wanted is what the containers of a service should hold now, by container path,
// as far as the project's own files go: what a compiler made is not in it.
func Wanted(ctx context.Context, p *config.Project, cs config.Service, store *registry.Store, index *tree.Index) (map[string]engine.File, error) {
	spec := SpecOf(p, cs).Knowing(store)
	plan, err := build.Load(spec)
	if err != nil {
		return nil, asProblem(err, "dockerfile", cs.Name)
	}
	files, unread, err := wantedFiles(ctx, index, &mapping{plan: plan, sync: cs.Sync, dir: spec.Context})
	if err == nil && len(unread) > 0 {
		err = unreadProblem(unread, cs.Name)
	}
	return files, err
}

// Running lists the containers of pods that run a service's image now.
func Running(p *config.Project, cs config.Service, pods []*corev1.Pod) []mirror.Container {
	svc := &service{Service: cs, spec: SpecOf(p, cs)}
	var list []mirror.Container
	for _, pod := range pods {
		for _, c := range syncable(pod) {
			if svc.runsImage(c.image) && c.running {
				list = append(list, mirror.Container{Service: cs.Name, Namespace: pod.Namespace, Pod: pod.Name, PodUID: string(pod.UID), Name: c.name, ID: c.id, HasAgent: true})
			}
		}
	}
	return list
}

// wantedFiles reads all that a mapping maps. What cannot be read is Uncertain: the
// containers keep what they have of it.
func wantedFiles(ctx context.Context, index *tree.Index, plan *mapping) (files map[string]engine.File, unread map[string]error, err error) {
	placed, err := plan.placements(ctx, index)
	if err != nil {
		return nil, nil, err
	}
	locals := make([]string, 0, len(placed))
	for _, p := range placed {
		locals = append(locals, p.Local)
	}
	found, unread, err := describe(ctx, index, locals)
	if err != nil {
		return nil, nil, err
	}
	files = make(map[string]engine.File, len(placed))
	for dest, p := range placed {
		described := found[p.Local]
		if p.Unread != nil {
			unread[p.Local] = p.Unread
		}
		if unread[p.Local] != nil {
			files[dest] = engine.Uncertain() // with all that is below it
			continue
		}
		if described == nil {
			continue
		}
		files[dest] = *described
		if p.Mode != nil {
			files[dest] = withMode(*described, map[string]fs.FileMode{dest: *p.Mode}, dest)
		}
	}
	return files, unread, nil
}

// describe looks at local paths as they are now, several at a time; nil stands for
// what is gone. unread says why some of them, which are there, cannot be read: that
// must not hold up the others.
func describe(ctx context.Context, index *tree.Index, locals []string) (found map[string]*engine.File, unread map[string]error, err error) {
	const alone = 64 // paths that are not worth another goroutine
	// Sorted, so that neighbours share the directory that is open.
	locals = slices.Compact(slices.Sorted(slices.Values(locals)))
	files, failed := make([]*engine.File, len(locals)), make([]error, len(locals))
	share := max(alone, (len(locals)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var looking sync.WaitGroup
	for from := 0; from < len(locals); from += share {
		looking.Go(func() {
			glance := index.Glance()
			defer glance.Close()
			for i := from; i < min(from+share, len(locals)); i++ {
				if ctx.Err() != nil {
					return
				}
				files[i], failed[i] = fileOf(ctx, index, glance, locals[i])
			}
		})
	}
	looking.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	found, unread = make(map[string]*engine.File, len(locals)), map[string]error{}
	for i, local := range locals {
		if failed[i] != nil {
			unread[local] = failed[i]
			continue
		}
		found[local] = files[i]
	}
	return found, unread, nil
}

// fileOf describes one local path as it is now; nil when it is gone.
func fileOf(ctx context.Context, index *tree.Index, glance *tree.Glance, local string) (*engine.File, error) {
	entry, ok, err := glance.Stat(local)
	if err != nil || !ok {
		return nil, err
	}
	file := engine.File{Mode: entry.Mode, Size: entry.Size, Link: entry.Link, MTime: entry.MTime, Local: local}
	if entry.Mode.IsRegular() {
		if file.Digest, err = glance.HashOf(ctx, entry); err != nil {
			if _, still, _ := index.Stat(local); !still {
				return nil, nil // removed while it was read
			}
			return nil, err
		}
	}
	return &file, nil
}
