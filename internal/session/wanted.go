package session

import (
	"context"
	"io/fs"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

// Wanted is what the containers of a service should hold now, by container path,
// as far as the project's own files go: what a compiler made is not in it.
func Wanted(ctx context.Context, p *config.Project, cs config.Service, index *tree.Index) (map[string]engine.File, error) {
	spec := SpecOf(p, cs)
	plan, err := build.Load(spec)
	if err != nil {
		return nil, asProblem(err, "dockerfile", cs.Name)
	}
	files, _, err := wantedFiles(ctx, index, &mapping{plan: plan, sync: cs.Sync, dir: spec.Context})
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

// wantedFiles reads all that a mapping maps, and which modes it gives to what.
func wantedFiles(ctx context.Context, index *tree.Index, plan *mapping) (map[string]engine.File, map[string]fs.FileMode, error) {
	placed, err := plan.placements(ctx, index)
	if err != nil {
		return nil, nil, err
	}
	files, modes := make(map[string]engine.File, len(placed)), map[string]fs.FileMode{}
	for dest, p := range placed {
		file, err := fileOf(ctx, index, p.Local)
		if err != nil {
			return nil, nil, err
		}
		if file == nil {
			continue
		}
		if p.Mode != nil {
			modes[dest] = *p.Mode
			file.Mode = file.Mode&^fs.ModePerm | *p.Mode
		}
		files[dest] = *file
	}
	return files, modes, nil
}

// fileOf describes one local path as it is now; nil when it is gone.
func fileOf(ctx context.Context, index *tree.Index, local string) (*engine.File, error) {
	entry, ok, err := index.Stat(local)
	if err != nil || !ok {
		return nil, err
	}
	file := engine.File{Mode: entry.Mode, Size: entry.Size, Link: entry.Link, MTime: entry.MTime, Local: local}
	if entry.Mode.IsRegular() {
		if file.Digest, err = index.Hash(ctx, local); err != nil {
			if _, still, _ := index.Stat(local); !still {
				return nil, nil // removed while it was read
			}
			return nil, err
		}
	}
	return &file, nil
}
