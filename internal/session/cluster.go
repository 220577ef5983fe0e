package session

import (
	"context"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
)

// linesPatience is how long Look waits for the last lines of what crashed.
const linesPatience = 2 * time.Second

// Look is the State of a project as the cluster alone shows it: `kdev status`
// where no session runs.
func Look(ctx context.Context, p *config.Project, contextName string, live *kube.Namespace, d *deploy.Deployer) (*State, error) {
	manifests, err := deploy.Render(ctx, p.Root, deploy.Sources(p.Manifests, p.Namespace, nil))
	if err != nil {
		return nil, err
	}
	objects := manifests.Objects
	if err := deploy.MoveNamespace(objects, p.Namespace); err != nil {
		return nil, err
	}
	if err := d.Follow(ctx, live, objects); err != nil {
		return nil, err
	}
	changed, stop := live.Subscribe()
	defer stop()
	statuses := d.Status(live, objects)
	timeout := time.NewTimer(linesPatience)
	defer timeout.Stop()
	for waiting := slices.ContainsFunc(statuses, lacksLines); waiting; {
		select {
		case <-changed:
			statuses = d.Status(live, objects)
			waiting = slices.ContainsFunc(statuses, lacksLines)
		case <-timeout.C:
			waiting = false
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	st := grouped(p, contextName, live, objects, statuses, d.OwnedStatus, time.Now())
	if st.Deployed {
		st.Objects = ObjectsOf(p, d.Objects(live, objects))
		st.Ready = st.Ready && objectsReady(st.Objects)
	}
	return st, nil
}

// lacksLines says whether the output of what fails may still be on its way.
func lacksLines(st deploy.WorkloadStatus) bool { return st.Problem != nil && st.Problem.Output == "" }

// grouped groups the workloads by service, in the order of kdev.yaml and then of
// the manifests.
func grouped(p *config.Project, contextName string, live *kube.Namespace, objects []*deploy.Object, statuses []deploy.WorkloadStatus, owned func(*kube.Namespace, []deploy.Ref) []deploy.WorkloadStatus, now time.Time) *State {
	st := &State{Project: p.Name, Namespace: p.Namespace, Context: contextName, Root: p.Root, Ready: true}
	owner := map[deploy.Ref]string{}
	var names []string
	kinds := map[string]Kind{}
	var images []deploy.Image
	for _, s := range p.Services {
		names = append(names, s.Name)
		kinds[s.Name] = Workload
		if s.Build != nil {
			kinds[s.Name] = Built
			images = append(images, deploy.Image{Service: s.Name, Repository: s.Image})
		}
	}
	for service, uses := range deploy.Inject(deploy.Copy(objects), images).Uses {
		for _, use := range uses {
			if owner[use.Object] == "" {
				statuses = append(statuses, owned(live, []deploy.Ref{use.Object})...)
			}
			owner[use.Object] = service
		}
	}
	of := map[string][]deploy.WorkloadStatus{}
	for _, s := range statuses {
		name := owner[s.Ref]
		if name == "" {
			name = s.Name
		}
		if kinds[name] == "" {
			names = append(names, name)
			kinds[name] = Workload
		}
		of[name] = append(of[name], s)
		if _, there := live.Get(s.Kind, p.Namespace+"/"+s.Name); there && s.Namespace == "" || s.Namespace != "" && !s.Absent && s.Unwatched == "" {
			st.Deployed = true
		}
	}
	for _, name := range names {
		v := ServiceOf(name, of[name], now)
		v.Kind, v.Image, v.Ignored = kinds[name], v.runs(), Ignored(p, deploy.Ref{Name: name}, name)
		st.Ready = st.Ready && (v.Phase == Ready || v.Phase == Sleeping || v.Ignored)
		st.Services = append(st.Services, v)
	}
	st.Ready = st.Ready && st.Deployed
	return st
}
