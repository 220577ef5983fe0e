//go:build unix

package session

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/registry"
)

// A heldBuild is a build that ends when the test lets it: with an image, whatever
// its context says.
type heldBuild struct {
	service string
	ctx     context.Context
	end     chan string // digest's first digit
}

type heldBuilds chan *heldBuild

func (h heldBuilds) Build(ctx context.Context, spec build.Spec, progress build.Progress) (*build.Result, error) {
	b := &heldBuild{spec.Service, ctx, make(chan string)}
	h <- b
	digest := "sha256:" + strings.Repeat(<-b.end, 64)
	progress(build.Event{Service: spec.Service, Step: "a step", Done: true})
	return &build.Result{Ref: "localhost:5001/shop/" + spec.Service + ":x@" + digest, Digest: digest, Record: &build.Record{Service: spec.Service, Digest: digest}}, nil
}

// next is the build that began; the others wait in the map.
func (h heldBuilds) next(t *testing.T, waiting map[string]*heldBuild, service string) *heldBuild {
	t.Helper()
	for {
		if b := waiting[service]; b != nil {
			delete(waiting, service)
			return b
		}
		select {
		case b := <-h:
			waiting[b.service] = b
		case <-time.After(time.Minute):
			t.Fatalf("no build of %s begins", service)
		}
	}
}

// A save ends the builds that it makes useless, of the service and of those that
// begin with its image, and what they made all the same is never deployed. What
// has nothing to do with it goes on.
func TestANewerChangeSupersedesBuilds(t *testing.T) {
	builds, waiting := make(heldBuilds), map[string]*heldBuild{}
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newSessionStand(t, map[string]string{
		"kdev.yaml":        "name: shop\nmanifests: {yaml: [k8s.yaml]}\nservices: {base: {build: base}, web: {build: web}, alone: {build: alone}}\n",
		"k8s.yaml":         strings.ReplaceAll(oneWorkload, "db", "web"),
		"base/Dockerfile":  "FROM scratch\nCOPY lib.txt /\n",
		"base/lib.txt":     "one",
		"web/Dockerfile":   "FROM base\nCOPY main.txt /\n",
		"web/main.txt":     "main",
		"alone/Dockerfile": "FROM scratch\nCOPY a.txt /\n",
		"alone/a.txt":      "a",
	}, func(p *Parts) { p.Builder, p.Store = builds, store })
	base, web, alone := builds.next(t, waiting, "base"), builds.next(t, waiting, "web"), builds.next(t, waiting, "alone")
	built := func(svc *Service) bool { return svc.Build != nil && svc.Build.Phase == BuildDone }
	base.end <- "1"
	s.until("base", "built", built)

	saved := time.Now()
	s.write("base/lib.txt", "two")
	select {
	case <-web.ctx.Done():
		t.Logf("the superseded build was cancelled %v after the save", time.Since(saved))
	case <-time.After(time.Minute):
		t.Fatal("a build that begins with the image that changed goes on")
	}
	second := builds.next(t, waiting, "web")
	web.end <- "a" // too late
	if alone.ctx.Err() != nil {
		t.Error("a build that has no part in it was cancelled")
	}
	alone.end <- "3"
	s.until("alone", "built", built)
	if svc, _ := s.session.State().Service("web"); svc.Image != "" || svc.Phase != Building {
		t.Errorf("the image of the cancelled build counts: %s %s", svc.Phase, svc.Image)
	}
	second.end <- "b"
	got := s.until("web", "built", built)
	if want := fmt.Sprintf("localhost:5001/shop/web:x@sha256:%s", strings.Repeat("b", 64)); got.Image != want {
		t.Errorf("web is to run %s, want %s", got.Image, want)
	}
	if why := got.Build.Why; !strings.Contains(why, "base/lib.txt changed: the image is made from that of base") {
		t.Errorf("built because %q", why)
	}
}

// A recipe that cannot be read because of another one's is read again when that
// one is saved: a parent that is mended, one of a circle that begins elsewhere.
func TestAChildOfABrokenRecipeRecovers(t *testing.T) {
	for name, c := range map[string]struct{ base, web, mended string }{
		"a parent": {"FROM scratch\nCOPI lib.txt /\n", "FROM base\n", "FROM scratch\nCOPY lib.txt /\n"},
		"a circle": {"FROM web\n", "FROM base\n", "FROM scratch\nCOPY lib.txt /\n"},
	} {
		t.Run(name, func(t *testing.T) {
			builds, waiting := make(heldBuilds), map[string]*heldBuild{}
			store, err := registry.OpenStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s := newSessionStand(t, map[string]string{
				"kdev.yaml":       "name: shop\nmanifests: {yaml: [k8s.yaml]}\nservices: {base: {build: base}, web: {build: web}}\n",
				"k8s.yaml":        strings.ReplaceAll(oneWorkload, "db", "web"),
				"base/Dockerfile": c.base,
				"base/lib.txt":    "one",
				"web/Dockerfile":  c.web + "COPY main.txt /\n",
				"web/main.txt":    "main",
			}, func(p *Parts) { p.Builder, p.Store = builds, store })
			for _, service := range []string{"base", "web"} {
				s.until(service, "broken", func(svc *Service) bool { return svc.Problem != nil })
			}
			s.write("base/Dockerfile", c.mended)
			for i, service := range []string{"base", "web"} {
				builds.next(t, waiting, service).end <- fmt.Sprint(i)
				s.until(service, "built", func(svc *Service) bool { return svc.Build != nil && svc.Build.Phase == BuildDone && svc.Problem == nil })
			}
		})
	}
}

// A build that a person asks for is a change, also after one that was cancelled, and so is
// a Dockerfile that cannot be read.
func TestABuildByHandIsAChange(t *testing.T) {
	builds, waiting := make(heldBuilds), map[string]*heldBuild{}
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newSessionStand(t, map[string]string{
		"kdev.yaml": "name: shop\nmanifests: {yaml: [k8s.yaml]}\nservices: {db: {build: web}}\n", "k8s.yaml": oneWorkload,
		"web/Dockerfile": "FROM scratch\nCOPY main.txt /\n", "web/main.txt": "main",
	}, func(p *Parts) { p.Builder, p.Store = builds, store })
	first := builds.next(t, waiting, "db")
	s.do(DoCancel, "db")
	first.end <- "1"
	s.do(DoBuild, "db")
	second := builds.next(t, waiting, "db")
	s.until("db", "a change under way", func(svc *Service) bool {
		return svc.Change != nil && svc.Change.Action == ActBuild && svc.Change.Outcome == ""
	})
	s.do(DoCancel, "db")
	second.end <- "2"
	s.write("web/Dockerfile", "FROM scratch\nCOPI main.txt /\n")
	broken := s.until("db", "failed with its Dockerfile", func(svc *Service) bool { return svc.Change != nil && svc.Change.Outcome == Failed })
	if c := broken.Change; len(c.Paths) != 1 || c.Paths[0] != "web/Dockerfile" || c.Missed() != "built" || len(broken.History) != 2 || broken.History[0].Outcome != Cancelled {
		t.Errorf("%+v after %+v", c, broken.History)
	}
}
