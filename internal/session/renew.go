package session

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// What onSync says of files that the kubelet renews: those of ConfigMaps and Secrets. It
// does so a minute or two after the change, in each pod in its own time, and tells nobody;
// the agent in the container sees it.

// volumeKey is a volume that a container has mounted.
type volumeKey struct {
	containerKey
	folder string
}

// A renewal is a wait for the kubelet.
type renewal struct {
	files  map[string]string // as deploy.Renewal has them
	cancel context.CancelFunc
}

// renewing has the containers that onSync says something about wait for the kubelet.
func (l *loop) renewing(renewals []deploy.Renewal) {
	if l.s.opts.NoSync {
		return
	}
	for _, r := range renewals {
		for _, svc := range l.services {
			if !slices.Contains(svc.workloads, r.Workload) || !svc.follows(r.Files) {
				continue
			}
			for _, pod := range l.pods(svc) {
				owner := l.s.parts.Live.Owner(pod)
				key := containerKey{pod.Name, r.Container}
				if svc.sync[key] != nil && owner.Kind == r.Workload.Kind && owner.Name == r.Workload.Name {
					l.awaitRenewal(svc, volumeKey{key, r.Folder}, r.Files)
				}
			}
		}
	}
}

// follows says whether a rule of onSync is for one of these files, by their paths in a volume.
func (svc *service) follows(files map[string]string) bool {
	for _, rule := range svc.OnSync {
		for name := range files {
			if rule.Matches(name) {
				return true
			}
		}
	}
	return false
}

// awaitRenewal waits for the kubelet to renew a volume. Of what it has not renewed yet, what
// changes now is part: it puts all of a volume's files in their place at once.
func (l *loop) awaitRenewal(svc *service, at volumeKey, files map[string]string) {
	if old := svc.renewals[at]; old != nil {
		old.cancel()
		all := maps.Clone(old.files)
		maps.Copy(all, files)
		files = all
	}
	ctx, cancel := context.WithCancel(l.ctx)
	r := &renewal{files, cancel}
	if svc.renewals == nil {
		svc.renewals = map[volumeKey]*renewal{}
	}
	svc.renewals[at] = r
	l.work.Go(func() {
		defer cancel()
		err := l.s.renewed(ctx, at, files)
		if ctx.Err() == nil {
			l.s.post(l.ctx, volumeRenewed{svc.Name, at, r, err})
		}
	})
}

// renewed has the agent of a container wait until files of a volume have their new content.
func (s *Session) renewed(ctx context.Context, at volumeKey, files map[string]string) error {
	command := []string{build.Agent, "renewed", at.folder}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := files[name]
		if sum == "" {
			sum = "-"
		}
		command = append(command, name, sum)
	}
	// The agent ends when this does, with kdev at the latest.
	in, alive := io.Pipe()
	defer alive.Close()
	var said shortOutput
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said.stop = cancel
	err := s.parts.Kube.Exec(ctx, s.opts.Project.Namespace, at.pod, at.container, command, in, io.Discard, &said)
	if err != nil && said.Len() > 0 {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return err
}

// volumeRenewed says that the kubelet has renewed a volume, or that nobody can say so.
type volumeRenewed struct {
	service string
	at      volumeKey
	renewal *renewal
	err     error
}

func (e volumeRenewed) apply(l *loop) {
	svc := l.byName[e.service]
	if svc == nil || svc.renewals[e.at] != e.renewal {
		return
	}
	delete(svc.renewals, e.at)
	if svc.sync[e.at.containerKey] == nil {
		return // its pod went: the next one has read what is new
	}
	if e.err != nil {
		l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "renewal-unknown",
			Text: fmt.Sprintf("when the kubelet renews %s in %s cannot be seen: what onSync says of it does not follow", e.at.folder, e.at.pod),
			Problem: &problem.Problem{Class: problem.Rollout, Code: "renewal-unknown", Where: svc.Name, Summary: "the agent cannot wait for the files of " + e.at.folder, Err: e.err,
				Hint: "`kdev trigger " + l.s.called(svc.Name) + " restart` makes it read them anew"}})
		return
	}
	l.generation++
	var files []string
	for _, name := range slices.Sorted(maps.Keys(e.renewal.files)) {
		files = append(files, l.indexPath(svc, name))
	}
	l.s.tell(Notice{Level: Info, Service: svc.Name, Code: "volume-renewed", Text: fmt.Sprintf("the kubelet has renewed %s in %s: what onSync says of it follows", e.at.folder, e.at.pod)})
	l.s.mirror.Trigger(svc.Name, l.generation, e.at.pod, e.at.container, hooks(svc.OnSync, l.indexPath(svc, ".")), files...)
}
