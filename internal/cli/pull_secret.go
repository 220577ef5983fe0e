package cli

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/session"
)

// foreign are the images of others that objects name.
func foreign(p *config.Project, objects []*deploy.Object) []string {
	ours := projectImages(p)
	return slices.DeleteFunc(deploy.ImageRefs(objects), func(ref string) bool {
		return slices.ContainsFunc(ours, func(im deploy.Image) bool { return im.Matches(ref) })
	})
}

// A pullThrough tells the registry how a project's images of others are pulled.
type pullThrough struct {
	endpoint *registry.Endpoint // nil: no node asks it
	project  string             // with the context and namespace
	tell     func(session.Notice)
	told     atomic.Bool // the note, which stays the same
}

func newPullThrough(endpoint *registry.Endpoint, c *cluster.Cluster, root, namespace string, tell func(session.Notice)) *pullThrough {
	if len(c.Nodes) == 0 {
		endpoint = nil
	}
	return &pullThrough{endpoint: endpoint, project: root + "\x00" + c.Context + "\x00" + namespace, tell: tell}
}

// pass is not fatal: what the registry does not fetch, the nodes do.
func (t *pullThrough) pass(ctx context.Context, refs []string, l registry.Logins) {
	if t == nil || t.endpoint == nil {
		return
	}
	note, err := t.endpoint.Outside(ctx, t.project, refs, l.Opens)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		t.tell(session.Notice{Time: time.Now(), Level: session.Warn, Code: "upstream-unset", Text: "images of others are not kept for the next cluster", Problem: asProblem(err, "upstream-unset")})
	case note != "" && !t.told.Swap(true):
		t.tell(session.Notice{Time: time.Now(), Level: session.Info, Code: "upstream-proxy", Text: note})
	}
}

// pullSecret holds the logins of this person without which some of the images
// cannot be pulled. Only a local cluster gets them, and the registry that its
// nodes pull through.
func pullSecret(ctx context.Context, store *registry.Store, refs []string, hide *secrets, through *pullThrough) (deploy.PullSecret, error) {
	l, err := store.Logins(ctx, refs, authn.DefaultKeychain)
	if hide != nil {
		hide.hide(l.Secrets)
	}
	through.pass(ctx, refs, l)
	if err != nil {
		return deploy.PullSecret{}, &problem.Problem{Code: "logins-unread", Summary: "which images take your login is not known", Err: err,
			Hint: "`docker pull` an image of that registry asks the same credential helper; `docker logout` of it does without"}
	}
	return deploy.PullSecret{Config: l.Config, Refs: l.Refs}, nil
}

// withPullSecret adds it to what is applied to a local cluster.
func withPullSecret(ctx context.Context, p *config.Project, namespace string, objects []*deploy.Object, through *pullThrough) ([]*deploy.Object, error) {
	refs := foreign(p, objects)
	if len(refs) == 0 {
		return objects, nil
	}
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	pull, err := pullSecret(ctx, store, refs, nil, through)
	if err != nil {
		return nil, err
	}
	return deploy.AddPullSecret(objects, namespace, pull), nil
}
