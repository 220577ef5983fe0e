package cli

import (
	"context"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// foreign are the images of others that objects name.
func foreign(p *config.Project, objects []*deploy.Object) []string {
	ours := projectImages(p)
	return slices.DeleteFunc(deploy.ImageRefs(objects), func(ref string) bool {
		return slices.ContainsFunc(ours, func(im deploy.Image) bool { return im.Matches(ref) })
	})
}

// pullSecret holds the logins of this person without which some of the images
// cannot be pulled. Only a local cluster gets them.
func pullSecret(ctx context.Context, store *registry.Store, refs []string, hide *secrets) (deploy.PullSecret, error) {
	l, err := store.Logins(ctx, refs, authn.DefaultKeychain)
	if hide != nil {
		hide.hide(l.Secrets)
	}
	if err != nil {
		return deploy.PullSecret{}, &problem.Problem{Code: "logins-unread", Summary: "which images take your login is not known", Err: err,
			Hint: "`docker pull` an image of that registry asks the same credential helper; `docker logout` of it does without"}
	}
	return deploy.PullSecret{Config: l.Config, Refs: l.Refs}, nil
}

// withPullSecret adds it to what is applied to a local cluster.
func withPullSecret(ctx context.Context, p *config.Project, namespace string, objects []*deploy.Object) ([]*deploy.Object, error) {
	refs := foreign(p, objects)
	if len(refs) == 0 {
		return objects, nil
	}
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	pull, err := pullSecret(ctx, store, refs, nil)
	if err != nil {
		return nil, err
	}
	return deploy.AddPullSecret(objects, namespace, pull), nil
}
