package deploy

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// An ObjectStatus says how an object fares that runs no pods by itself: a claim, a
// Service, an Ingress, a CRD, an object of a custom kind.
type ObjectStatus struct {
	Ref
	Ready   bool
	Waiting string // completes "waits for …"; "" when ready
	Note    string // what a person should know although it counts as ready
	// Problem is why it does not get ready. Of one that counts as ready it is what
	// looks wrong all the same: a rule that points at nothing keeps no pod from running.
	Problem *problem.Problem
	// Selects are the workloads that a Service sends to.
	Selects []Ref
}

// Objects says how the objects fare of which Status says nothing, as far as there is
// something to be said of their kinds. It answers at once, from the informers; kinds
// that not every cluster has are known after [Deployer.Follow].
func (d *Deployer) Objects(live *kube.Namespace, objects []*Object) []ObjectStatus {
	w := &world{d: d, live: live, objects: objects, now: d.now()}
	var all []ObjectStatus
	for _, o := range objects {
		if o.Hook != nil || d.elsewhere(o) {
			continue
		}
		s := ObjectStatus{Ref: RefOf(o), Ready: true}
		switch gk := o.GroupVersionKind().GroupKind(); {
		case gk == claimKind:
			w.claim(o, &s)
		case gk == schema.GroupKind{Kind: "Service"}:
			w.service(o, &s)
		case gk.Kind == "Ingress" && gk.Group == "networking.k8s.io":
			w.ingress(o, &s)
		case isFollowed(gk):
			w.custom(o, &s)
			if gk.Kind == "HTTPRoute" && gk.Group == "gateway.networking.k8s.io" {
				w.route(o, &s)
			}
		default:
			continue
		}
		if s.Ready {
			s.Waiting = ""
		}
		s.Waiting, s.Problem = d.hidden(s.Waiting, s.Problem)
		all = append(all, s)
	}
	if !w.again.IsZero() {
		live.PokeAt(w.again)
	}
	return all
}

// isFollowed says whether objects of a kind tell by conditions of their own how they
// fare: those of custom kinds, CRDs and APIServices.
func isFollowed(gk schema.GroupKind) bool {
	switch gk.Group {
	case "apiextensions.k8s.io", "apiregistration.k8s.io": // a library may have registered them
		return true
	}
	return !scheme.Scheme.IsGroupRegistered(gk.Group)
}

// Follow makes live keep those objects of which kinds are not in every cluster, so that
// Objects can tell of them: the members of the set where there is one, else whatever
// objects of these kinds somebody else deployed. Kinds that the cluster does not know are
// left out; a call after they came takes them in. It returns when the namespaces of all
// workloads have been looked at.
func (d *Deployer) Follow(ctx context.Context, live *kube.Namespace, objects []*Object) error {
	d.ranBefore(ctx, live, objects)
	selector, keep := partOfLabel+"="+d.id, (func(metav1.Object) bool)(nil)
	if !d.isSet(ctx) {
		selector, keep = "", d.among(objects)
	}
	asked := map[schema.GroupKind]bool{}
	for _, o := range objects {
		if IsWorkload(o) && d.elsewhere(o) {
			if err := live.AwaitBeside(ctx, d.client, o.GetNamespace()); err != nil {
				return err
			}
		}
		gk := o.GroupVersionKind().GroupKind()
		if gk == claimKind {
			d.storage.read(ctx, d.client, o)
		}
		if !isFollowed(gk) || asked[gk] || d.elsewhere(o) {
			continue
		}
		asked[gk] = true
		mapping, err := d.mapping(o)
		if meta.IsNoMatchError(err) {
			d.follows(gk, followed{unknown: true})
			continue
		}
		if err != nil {
			continue // applying it says what is the matter
		}
		namespaced := mapping.Scope.Name() == meta.RESTScopeNameNamespace
		if err := live.Follow(ctx, mapping.Resource, namespaced, selector, keep); err != nil {
			return err
		}
		d.follows(gk, followed{resource: mapping.Resource, namespaced: namespaced})
	}
	return nil
}

// among says of live objects of custom kinds whether they are some of objects, by their
// names, or of the set that may come.
func (d *Deployer) among(objects []*Object) func(metav1.Object) bool {
	names := map[string]bool{}
	for _, o := range objects {
		if isFollowed(o.GroupVersionKind().GroupKind()) {
			names[o.GetName()] = true
		}
	}
	return func(o metav1.Object) bool { return names[o.GetName()] || o.GetLabels()[partOfLabel] == d.id }
}

func (d *Deployer) follows(gk schema.GroupKind, f followed) {
	d.applied.mu.Lock()
	defer d.applied.mu.Unlock()
	if d.applied.kinds == nil {
		d.applied.kinds = map[schema.GroupKind]followed{}
	}
	d.applied.kinds[gk] = f
}

// isSet says whether kdev has applied anything here. Where that cannot be found out, it
// has not: whoever may not read a ConfigMap applies nothing either.
func (d *Deployer) isSet(ctx context.Context) bool {
	d.applied.mu.Lock()
	made := len(d.applied.made) > 0
	d.applied.mu.Unlock()
	if made {
		return true
	}
	cm, err := d.client.Core.CoreV1().ConfigMaps(d.options.Namespace).Get(ctx, d.parentName(), metav1.GetOptions{})
	return err == nil && cm.Annotations[toolingAnnotation] == tooling
}

// ranBefore finds the Jobs that ran and whose time to live is over: they are not absent.
// Who may not read what is written of them sees them as absent.
func (d *Deployer) ranBefore(ctx context.Context, live *kube.Namespace, objects []*Object) {
	read := false
	for _, o := range objects {
		_, known := d.made(madeKeyOf(o))
		if known || o.GroupVersionKind().GroupKind() != jobKind || !expires(o) || d.elsewhere(o) {
			continue
		}
		if _, there := live.Get(o.GetKind(), d.options.Namespace+"/"+o.GetName()); there {
			continue
		}
		if !read {
			if _, err := d.parent(ctx); err != nil {
				return
			}
			read = true
		}
		t, err := d.target(Copy([]*Object{o})[0])
		if err == nil && d.jobs.ran(t) {
			d.note(t, nil)
		}
	}
}

// followed is a kind that the informers keep.
type followed struct {
	resource   schema.GroupVersionResource
	namespaced bool
	unknown    bool // the cluster has no such kind
}

// world is what the status of one object is found from.
type world struct {
	d       *Deployer
	live    *kube.Namespace
	objects []*Object
	now     time.Time
	again   time.Time // when a rule's patience is over

	makers   *makers       // of objects, found once
	pods     []*corev1.Pod // read once
	podsRead bool
}

// later asks for another look when a rule's patience is over. It reports whether it is
// over already.
func (w *world) later(since time.Time, patience time.Duration) bool {
	at := since.Add(patience)
	if !w.now.Before(at) {
		return true
	}
	if w.again.IsZero() || at.Before(w.again) {
		w.again = at
	}
	return false
}

// found takes an object of the namespace from the informers, unless it is not yet the
// one that was applied.
func (w *world) found(o *Object, s *ObjectStatus) (metav1.Object, bool) {
	if slices.Contains(w.live.Denied(), pluralOf(s.Kind)) {
		return nil, false // nobody can say
	}
	got, ok := w.live.Get(s.Kind, w.d.options.Namespace+"/"+s.Name)
	made, known := w.d.made(madeKeyOf(o))
	m, isObject := got.(metav1.Object)
	if !ok || !isObject || known && m.GetUID() != made.uid {
		s.Ready, s.Waiting = false, "its creation"
		return nil, false
	}
	return m, true
}

// suspect is what looks wrong of an object that counts as ready. name is what is wrong in
// the manifest, near a word that stands with it.
func (w *world) suspect(o *Object, s *ObjectStatus, code, name, near, summary, hint string) {
	if s.Problem == nil {
		s.Problem = &problem.Problem{Class: problem.Rollout, Code: code, Where: at(s.Ref.String(), w.d.placeOf(o, name, near)), Summary: summary, Hint: hint}
	}
}

// selected are the workloads whose pods a selector matches.
func (w *world) selected(selector labels.Selector) []*Object {
	var all []*Object
	for _, o := range w.objects {
		if IsWorkload(o) && w.d.namespaceOf(o) == w.d.options.Namespace && selector.Matches(podLabels(o)) {
			all = append(all, o)
		}
	}
	return all
}

// anyPod says whether a pod that is there matches.
func (w *world) anyPod(selector labels.Selector) bool {
	if !w.podsRead {
		w.pods, w.podsRead = w.live.Pods(), true
	}
	for _, p := range w.pods {
		if p.Namespace == w.d.options.Namespace && selector.Matches(labels.Set(p.Labels)) {
			return true
		}
	}
	return false
}
