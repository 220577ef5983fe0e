package session

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/router"
)

// A front is the session's router and the port that it has. It outlives the
// loops: requests go on while a configuration is applied.
type front struct {
	s         *Session
	namespace string // a saved configuration never changes it; requests do not read those

	router *router.Router
	pod    func(context.Context, podPort) (io.ReadWriteCloser, error) // opens a stream to a pod

	wanted int // port of the configuration; 0: it is not open
	failed int // port that could not be opened: told, and not tried again
	at     int
	stop   context.CancelFunc
	done   chan struct{}

	table  *router.Table
	ruled  map[string][]string // addresses by service, of rules
	named  map[string][]string // the same, of names alone
	told   map[string]bool
	owners atomic.Pointer[map[string]string] // Service → service whose pods it selects
}

func newFront(s *Session) *front {
	f := &front{s: s, namespace: s.opts.Project.Namespace, told: map[string]bool{}}
	f.pod = func(ctx context.Context, to podPort) (io.ReadWriteCloser, error) {
		return s.parts.Kube.DialPod(ctx, f.namespace, to.pod, to.port)
	}
	f.owners.Store(&map[string]string{})
	f.router = router.New(f.dial)
	return f
}

// routerOff says whether the session has no router.
func (s *Session) routerOff() bool {
	return s.opts.NoPorts || s.opts.Attach || s.opts.Project.Router.Off
}

// route gives the router what the newest manifests say, and opens its port when
// there is something to serve for the first time.
func (l *loop) route() {
	f := l.s.front
	if l.s.routerOff() {
		f.close()
		return
	}
	objects := make([]*unstructured.Unstructured, 0, len(l.objects)+len(l.unapplied))
	for _, o := range slices.Concat(l.objects, l.unapplied) {
		objects = append(objects, o.Unstructured)
	}
	rules, told := router.Rules(objects, l.s.opts.Project.Namespace)
	for _, line := range told {
		f.tell(Notice{Level: Warn, Code: "route-unsupported", Text: line})
	}
	f.table = router.NewTable(l.s.opts.Project.Name, rules, router.Services(objects, l.s.opts.Project.Namespace))
	owners := l.owners()
	f.owners.Store(&owners)
	f.router.Swap(f.table)
	if len(f.table.Places()) > 0 || len(rules) > 0 {
		f.open(l.s.opts.Project.Router.Port)
	}
	f.address(owners)
}

// address finds out where each service is found.
func (f *front) address(owners map[string]string) {
	f.ruled, f.named = map[string][]string{}, map[string][]string{}
	if f.wanted == 0 {
		return
	}
	for _, p := range f.table.Places() {
		service, ok := owners[p.Service]
		switch {
		case !ok:
		case p.Rule != "":
			f.ruled[service] = append(f.ruled[service], p.URL(f.at))
		default:
			f.named[service] = append(f.named[service], p.URL(f.at))
		}
	}
}

// tell tells a thing once in a session, not after each save.
func (f *front) tell(n Notice) {
	if !f.told[n.Text] {
		f.told[n.Text] = true
		f.s.tell(n)
	}
}

// open listens, unless it does. That there is no port for it is told and ends
// nothing.
func (f *front) open(port int) {
	if f.wanted == port || f.failed == port {
		return
	}
	f.close()
	listener, err := router.Listen(port)
	if err != nil {
		f.failed = port
		f.s.tell(Notice{Level: Fail, Code: "port-unavailable", Text: "services cannot be reached by name", Problem: &problem.Problem{
			Code: "port-unavailable", Summary: fmt.Sprintf("cannot listen on port %d for the router", port), Err: err,
			Hint: "choose another port in kdev.yaml: `router: {port: PORT}`, or do without: `router: off`",
		}})
		return
	}
	if listener.Port != port {
		f.s.tell(Notice{Level: Warn, Code: "port-busy", Text: fmt.Sprintf("port %d is in use: the router is at %d instead", port, listener.Port)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.wanted, f.failed, f.at, f.stop, f.done = port, 0, listener.Port, cancel, make(chan struct{})
	go func() {
		defer close(f.done)
		f.router.Serve(ctx, listener)
	}()
}

// close ends the router's port, and returns when the last request has ended.
func (f *front) close() {
	if f.wanted == 0 {
		return
	}
	f.stop()
	<-f.done
	f.wanted, f.at, f.ruled, f.named = 0, 0, nil, nil
}

// owners finds the service behind each Service of the manifests, by its selector
// and the labels of the pod templates.
func (l *loop) owners() map[string]string {
	byRef := map[deploy.Ref]string{}
	for _, svc := range l.services {
		for _, ref := range svc.workloads {
			byRef[ref] = svc.Name
		}
	}
	owners := map[string]string{}
	for _, o := range l.objects {
		selector, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector")
		if o.GetKind() != "Service" || len(selector) == 0 {
			continue
		}
		for _, w := range l.objects {
			template, _, _ := unstructured.NestedStringMap(w.Object, "spec", "template", "metadata", "labels")
			if w.GetKind() == "Pod" {
				template = w.GetLabels()
			}
			name := byRef[deploy.RefOf(w)]
			if name != "" && labels.SelectorFromSet(selector).Matches(labels.Set(template)) {
				owners[o.GetName()] = name
				break
			}
		}
	}
	return owners
}

// dial opens a stream to a Ready pod of a Service. It runs in a request's
// goroutine.
func (f *front) dial(ctx context.Context, to router.Backend) (io.ReadWriteCloser, error) {
	var why string
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	pick := func() (podPort, bool) {
		ready, cause, final := f.ready(to)
		if len(ready) > 0 {
			why = ""
			return anyOf(ready), true
		}
		if why = cause; final {
			giveUp()
		}
		return podPort{}, false
	}
	stream, err := reach(ctx, pick, f.pod, f.s.parts.Live.Subscribe)
	if err != nil && why != "" {
		return nil, &router.Unavailable{Cause: why}
	}
	return stream, err
}

// ready lists the Ready pods of a Service now, with the port in each. Where there
// is none, cause says why, and final that waiting is of no use.
func (f *front) ready(to router.Backend) (ready []podPort, cause string, final bool) {
	live := f.s.parts.Live
	found, ok := live.Get("Service", f.namespace+"/"+to.Service)
	svc, is := found.(*corev1.Service)
	if !ok || !is {
		cause, final = f.cause(to.Service)
		return nil, "there is no Service " + to.Service + " in the cluster: " + cause, final
	}
	if len(svc.Spec.Selector) == 0 {
		return nil, "the Service selects no pods, and the router reaches nothing else", true
	}
	port, ok := servicePort(svc, to.Port)
	if !ok {
		return nil, fmt.Sprintf("the Service has no port %s", to.Port.String()), true
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	for _, pod := range live.Pods() {
		if podReady(pod) && pod.DeletionTimestamp == nil && selector.Matches(labels.Set(pod.Labels)) {
			ready = append(ready, podPort{pod.Name, targetPort(port, pod)})
		}
	}
	if len(ready) == 0 {
		cause, final = f.cause(to.Service)
	}
	return ready, cause, final
}

// servicePort finds a port by number or name; 0 is the only one, or the first.
func servicePort(svc *corev1.Service, want intstr.IntOrString) (corev1.ServicePort, bool) {
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
		if want.Type == intstr.String {
			return p.Name == want.StrVal
		}
		return want.IntVal == 0 || p.Port == want.IntVal
	})
	if i < 0 {
		return corev1.ServicePort{}, false
	}
	return svc.Spec.Ports[i], true
}

// cause is why a Service has no Ready pod, as the session knows it.
func (f *front) cause(service string) (text string, final bool) {
	st := f.s.State()
	v, ok := st.Service((*f.owners.Load())[service])
	if !ok {
		return "no pod that its selector matches is Ready", false
	}
	switch {
	case v.Phase == Stopped:
		return fmt.Sprintf("%s is not started; `kdev trigger %s` starts it", v.Name, f.s.called(v.Name)), true
	case v.Phase == Sleeping:
		return v.Name + " is scaled to nothing", true
	case v.Problem != nil:
		text = v.Problem.Error()
		if v.Problem.Hint != "" {
			text += " (" + v.Problem.Hint + ")"
		}
		return text, v.Phase == FailedPhase
	case len(st.Problems) > 0 && v.Phase == Pending && (v.Waiting == nil || v.Waiting.Reason == ForManifests):
		return st.Problems[0].Error(), true
	case v.Waiting != nil && v.Phase != Ready:
		return fmt.Sprintf("%s is %s: it waits for %s", v.Name, v.Phase, v.Waiting.Text), false
	}
	return "none of its pods is Ready", false
}

// home is where a browser finds the project: the first rule's address, else the first
// forwarded port, else the first name.
func (l *loop) home(st *State) string {
	f := l.s.front
	if f.wanted != 0 && f.table != nil {
		for _, p := range f.table.Places() {
			if p.Rule != "" {
				return p.URL(f.at)
			}
		}
	}
	for _, svc := range st.Services {
		if len(svc.Ports) > 0 {
			return svc.Ports[0].URL
		}
	}
	for _, svc := range st.Services {
		if len(svc.URLs) > 0 {
			return svc.URLs[0]
		}
	}
	return ""
}

// gatewayAPI is what a project may deploy for a gateway that a local cluster need
// not have.
const gatewayAPI = "gateway.networking.k8s.io"

// withoutGateways takes out the objects of the Gateway API where the cluster does
// not know it: the router serves them all the same.
func (s *Session) withoutGateways(objects []*deploy.Object) (applied, left []*deploy.Object) {
	if s.routerOff() {
		return objects, nil
	}
	known := map[string]bool{}
	for _, o := range objects {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		if o.GetKind() == "CustomResourceDefinition" && group == gatewayAPI {
			known[kind] = true
		}
	}
	for _, o := range objects {
		gk := o.GroupVersionKind().GroupKind()
		if gk.Group != gatewayAPI {
			applied = append(applied, o)
			continue
		}
		if _, asked := known[gk.Kind]; !asked {
			known[gk.Kind] = s.parts.Deployer.Knows(o)
		}
		if known[gk.Kind] {
			applied = append(applied, o)
		} else {
			left = append(left, o)
		}
	}
	return applied, left
}

// tellUnapplied names the kinds that only the router knows.
func (l *loop) tellUnapplied() {
	kinds := map[string]bool{}
	for _, o := range l.unapplied {
		kinds[o.GetKind()] = true
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		l.s.front.tell(Notice{Level: Info, Code: "route-local", Text: "the cluster does not know kind " + kind + ": it is not applied, and the router serves its rules"})
	}
}
