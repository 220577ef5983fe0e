package cli

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// A member is one project of those that are up together: the one that was asked for,
// which is the first, or one that it includes.
type member struct {
	session *session.Session
	parts   *session.Parts
}

// members opens what the sessions work with. closeAll closes it again, also after an
// error.
func (o *upOptions) members(ctx context.Context, p *config.Project, face face) (_ []member, closeAll func(), err error) {
	var closers []func()
	closeAll = func() {
		for _, f := range slices.Backward(closers) {
			f()
		}
	}
	var members []member
	for i, one := range append([]config.Included{{Project: p}}, p.Include...) {
		opts := o.session
		opts.Reload = o.reload(ctx, p)
		tell := face.notice
		at := *one.Project
		if i > 0 {
			// Names on the command line are of the project that was asked for.
			opts.Services, opts.Included = nil, true
			opts.Reload = func() (*config.Project, error) {
				again, err := alone(config.Load(one.Project.Root, config.LoadOptions{Version: version}))
				if err == nil {
					routerBeside(again, p, i)
				}
				return again, err
			}
			routerBeside(&at, p, i)
			tell = func(n session.Notice) {
				n.Service = at.Name
				face.notice(n)
			}
			for _, d := range at.Detected {
				tell(session.Notice{Time: time.Now(), Level: session.Info, Code: "detected", Text: d})
			}
		}
		at.Include = nil
		opts.Project = &at
		m, closeOne, err := o.member(ctx, opts, tell)
		closers = append(closers, closeOne)
		if err != nil {
			return nil, closeAll, err
		}
		members = append(members, m)
	}
	return members, closeAll, nil
}

// routerBeside gives the router of the nth included project a port of its own: which of them
// has the one that all would like must not be chance.
func routerBeside(included, main *config.Project, n int) {
	if !main.Router.Off && included.Router.Port == main.Router.Port {
		included.Router.Port += n
	}
}

func (o *upOptions) member(ctx context.Context, opts session.Options, tell func(session.Notice)) (_ member, closeOne func(), err error) {
	p := opts.Project
	var rendered sync.WaitGroup
	rendered.Go(func() { o.hide.ofManifests(ctx, p) })
	parts, endpoint, closeParts, err := o.flags.parts(ctx, o.env, p, tell)
	rendered.Wait()
	if err != nil {
		return member{}, func() {}, err
	}
	parts.Builder, parts.Hide = keepOutput(o.env, p, hidingBuilder{parts.Builder, &o.hide}), o.hide.mask.String
	parts.Conceal = func(value string) { o.hide.hide([]string{value}) }
	parts.Deployer.Hide(o.hide.mask.String)
	if parts.Cluster.Provider != "" { // a person's login is for no cluster elsewhere
		through := newPullThrough(endpoint, parts.Cluster, p.Root, p.Namespace, tell)
		parts.Logins = func(ctx context.Context, refs []string) (deploy.PullSecret, error) {
			return pullSecret(ctx, parts.Store, refs, &o.hide, through)
		}
	}
	watching, unwatch := context.WithCancel(ctx)
	wait, err := o.hide.ofCluster(watching, parts.Kube, []string{p.Namespace})
	if err != nil {
		tell(session.Notice{Level: session.Warn, Code: "secrets-unread", Text: err.Error()})
	}
	return member{session.New(opts, *parts), parts}, func() { unwatch(); wait(); closeParts() }, nil
}

func group(members []member) *session.Group {
	var others []*session.Session
	for _, m := range members[1:] {
		others = append(others, m.session)
	}
	return session.NewGroup(members[0].session, others...)
}

// reload reads the configuration of the project that was asked for anew. Which others
// it includes is settled for as long as the session lasts.
func (o *upOptions) reload(ctx context.Context, was *config.Project) func() (*config.Project, error) {
	roots := func(p *config.Project) (all []string) {
		for _, one := range p.Include {
			all = append(all, one.Project.Root)
		}
		return all
	}
	return func() (*config.Project, error) {
		p, err := o.flags.loadIncluded(ctx, o.env, func(string) {})
		if err == nil && !slices.Equal(roots(p), roots(was)) {
			err = &problem.Problem{Class: problem.Usage, Code: "include-changed", Where: p.File, Summary: "the list of included projects changed",
				Hint: "leave and run `kdev up` again to use the new one"}
		}
		return alone(p, err)
	}
}

// alone is a project without those that it includes.
func alone(p *config.Project, err error) (*config.Project, error) {
	if err != nil {
		return nil, err
	}
	p.Include = nil
	return p, nil
}
