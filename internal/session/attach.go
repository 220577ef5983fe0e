package session

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/deploy"
)

// An attached session syncs into what runs, whoever deployed it: nothing is built
// and nothing is applied.

// attach starts the syncing of every service. What is saved after the notice is
// told as a change.
func (l *loop) attach() {
	l.s.tell(Notice{Level: Info, Code: "sync-attached",
		Text: fmt.Sprintf("syncing into the pods of namespace %s in %s; Ctrl-C ends it", l.s.opts.Project.Namespace, l.s.parts.Cluster.Context)})
	for _, svc := range l.services {
		if svc.built && svc.plan != nil {
			l.desire(svc)
			l.containersChanged(svc)
		}
	}
}

// runsImage says whether a reference is an image of svc: the one that manifests
// name, or the one that kdev put in its place.
func (svc *service) runsImage(ref string) bool {
	if (deploy.Image{Service: svc.Name, Repository: svc.Image}).Matches(ref) {
		return true
	}
	repo, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
		repo = repo[:i]
	}
	return strings.HasSuffix("/"+repo, "/"+svc.spec.Repository())
}

// attached lists the pods that run svc's image.
func (l *loop) attached(svc *service) []*corev1.Pod {
	return slices.DeleteFunc(l.s.parts.Live.Pods(), func(pod *corev1.Pod) bool {
		return !slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool { return svc.runsImage(c.Image) })
	})
}

// tellUnsynced says what an attached session does not do about a change.
func (l *loop) tellUnsynced(svc *service, changed, why string) {
	l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "sync-needs-build",
		Text: fmt.Sprintf("%s changed and cannot be synced: %s; `kdev up` builds", changed, why)})
}
