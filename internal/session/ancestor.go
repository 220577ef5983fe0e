package session

import (
	"fmt"
	"path/filepath"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/watch"
)

// A service whose image is made from another one of the project depends on all
// that the other one is made from. What would be synced into the other's
// containers is in this one's image at the same place and yet not its own: it is
// built again.

// An ancestor is an image of the project that another one is made from.
type ancestor struct {
	spec   build.Spec
	recipe build.Recipe
}

// ancestors are the parents of a recipe, and theirs.
func ancestors(r build.Recipe) []ancestor {
	var all []ancestor
	for _, p := range build.Parents(r) {
		all = append(append(all, ancestor{p.Spec, p.Recipe}), ancestors(p.Recipe)...)
	}
	return all
}

// reads says whether the image is made from a path of the project.
func (a *ancestor) reads(changed string) bool {
	if a.decides(changed) {
		return true
	}
	rel, ok := contextPath(a.spec, changed)
	return ok && a.recipe.Explain(rel).Action != dockerfile.Nothing
}

// decides says whether the path is part of how the image is built.
func (a *ancestor) decides(changed string) bool {
	return isRecipe(a.spec, filepath.Join(a.spec.Root, filepath.FromSlash(changed)))
}

// inherits finds the ancestor that is made from a path of the project.
func (svc *service) inherits(changed string) *ancestor {
	for i := range svc.above {
		if svc.above[i].reads(changed) {
			return &svc.above[i]
		}
	}
	return nil
}

// ancestorChanged has svc built again where the image that it is made from
// becomes another one, and says whether the path is any of its business.
func (l *loop) ancestorChanged(svc *service, changed string, batch watch.Batch) bool {
	a := svc.inherits(changed)
	if a == nil {
		return false
	}
	if a.decides(changed) {
		svc.loadPlan() // it may begin with another image now
		if svc.unread {
			l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "build-failed", Text: changed + " cannot be used", Problem: svc.problem})
			return true
		}
	}
	why := fmt.Sprintf("%s changed: the image is made from that of %s", changed, a.spec.Service)
	switch {
	case l.s.opts.Attach:
		l.tellUnsynced(svc, changed, "the image is made from that of "+a.spec.Service)
		return true
	case l.s.opts.NoBuild:
		l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "no-build", Text: why + "; nothing is built here"})
		return true
	}
	svc.changed(ActBuild, changed, batch)
	l.supersede(svc)
	switch {
	case svc.ref == "":
		svc.dirty = why
	case svc.deciding:
		svc.redecide = true
	default:
		l.decide(svc, svc.ref) // saved, but the same, it asks for nothing
	}
	return true
}
