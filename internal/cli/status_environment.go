package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// statusOptions are the flags of `kdev status -e`, which reads one environment
// from its cluster, whatever session runs.
type statusOptions struct {
	env    Env
	flags  environmentFlags
	watch  bool
	output string
}

func (o *statusOptions) run(ctx context.Context) error {
	p, e, err := o.flags.find(o.env)
	if err != nil {
		return err
	}
	c, err := o.flags.ensure(ctx, p, e, false, steps(o.env))
	if err != nil {
		return err
	}
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return err
	}
	defer kc.Close()
	d := deploy.New(kc, deploy.Options{Project: p.Name, Namespace: e.Namespace, Root: p.Root})
	defer d.Close()
	defer hideSecrets(ctx, p, e.Manifests, kc, e.Namespace, d)()
	objects, err := o.objects(ctx, p, e, d, kc)
	if err != nil {
		return err
	}
	watched, stop := context.WithCancel(ctx)
	live, err := kube.Watch(watched, kc, e.Namespace)
	if err != nil {
		stop()
		return err
	}
	defer live.Wait()
	defer stop()
	if denied := live.Denied(); len(denied) > 0 {
		fmt.Fprintf(o.env.Err, "note: this user may not read %s: what they would tell is missing\n", strings.Join(denied, ", "))
	}
	view := &statusView{p: p, e: e, context: c.Context, aim: o.flags.aimAt(e), d: d, live: live, objects: objects, services: servicesOf(p, objects)}
	if err := d.Follow(ctx, live, objects); err != nil {
		return err
	}
	d.Status(live, objects) // asks for the last lines of what failed
	d.Settle()
	if !o.watch {
		return o.write(view.document(time.Now()))
	}
	return o.follow(ctx, view)
}

// objects are the environment's, as the manifests say; where these do not render,
// what was applied.
func (o *statusOptions) objects(ctx context.Context, p *config.Project, e config.Environment, d *deploy.Deployer, kc *kube.Client) ([]*deploy.Object, error) {
	objects, err := render(ctx, o.env, p, e, kc)
	if err == nil {
		return objects, nil
	}
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	fmt.Fprintf(o.env.Err, "note: the manifests do not render (%v): showing what was applied\n", err)
	return d.Deployed(ctx)
}

// follow writes a document whenever it differs from the last one.
func (o *statusOptions) follow(ctx context.Context, view *statusView) error {
	changed, stop := view.live.Subscribe()
	defer stop()
	last := ""
	for {
		doc := view.document(time.Now())
		if key := doc.key(); key != last {
			last = key
			if err := o.write(doc); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return exitCode(exitInterrupted)
		}
	}
}

func (o *statusOptions) write(doc *statusDocument) error {
	if o.output == "json" {
		return writeJSON(o.env.Out, doc)
	}
	var b strings.Builder
	if err := doc.text(&b, o.watch); err != nil {
		return err
	}
	_, err := io.WriteString(o.env.Out, doc.aim.text(b.String()))
	return err
}

// statusDocument is the documented form of a status.
type statusDocument struct {
	aim aim // of its hints

	APIVersion  string           `json:"apiVersion"`
	Project     string           `json:"project"`
	Environment string           `json:"environment"`
	Namespace   string           `json:"namespace"`
	Context     string           `json:"context"`
	Time        time.Time        `json:"time"`
	Ready       bool             `json:"ready"`
	Services    []statusService  `json:"services"`
	Objects     []session.Object `json:"objects,omitempty"`
}

type statusService struct {
	Name    string           `json:"name"`
	State   string           `json:"state"` // ready, progressing, failed, absent
	Image   string           `json:"image,omitempty"`
	Desired int              `json:"desired"`
	Ready   int              `json:"ready"`
	Old     int              `json:"old,omitempty"` // pods of an older template that still serve
	Waiting string           `json:"waiting,omitempty"`
	Pods    []statusPod      `json:"pods"`
	Problem *problem.Problem `json:"problem,omitempty"`
	// Unwatched are those of its workloads of which nobody can say whether they are ready.
	Unwatched []string `json:"unwatched,omitempty"`
	explain   []string
}

type statusPod struct {
	Name     string        `json:"name"`
	Node     string        `json:"node,omitempty"`
	IP       string        `json:"ip,omitempty"`
	Ready    bool          `json:"ready"`
	Old      bool          `json:"old,omitempty"`
	Restarts int           `json:"restarts"`
	AgeMS    int64         `json:"ageMs"`
	Stages   []statusStage `json:"stages"`
}

type statusStage struct {
	Name   string `json:"name"`
	Done   bool   `json:"done"`
	TookMS int64  `json:"tookMs"`
}

// A statusView makes documents of what informers hold.
type statusView struct {
	p        *config.Project
	e        config.Environment
	context  string
	aim      aim
	d        *deploy.Deployer
	live     *kube.Namespace
	objects  []*deploy.Object
	services []serviceView
}

func (v *statusView) document(now time.Time) *statusDocument {
	doc := &statusDocument{aim: v.aim, APIVersion: apiVersion, Project: v.p.Name, Environment: v.e.Name, Namespace: v.e.Namespace, Context: v.context,
		Time: now, Ready: true, Services: []statusService{}}
	all := v.d.Status(v.live, v.objects)
	for _, s := range v.services {
		out := statusService{Name: s.name, State: "ready", Pods: []statusPod{}}
		for _, st := range all {
			if slices.Contains(s.workloads, st.Ref) {
				out.add(&st, v.p, now)
			}
		}
		for _, st := range v.d.OwnedStatus(v.live, s.workloads) { // pods that controllers made of custom objects
			out.add(&st, v.p, now)
		}
		doc.Ready = doc.Ready && (out.State == "ready" || session.Ignored(v.p, deploy.Ref{}, s.name))
		out.Problem = v.aim.problem(out.Problem)
		doc.Services = append(doc.Services, out)
	}
	doc.Objects = session.ObjectsOf(v.p, v.d.Objects(v.live, v.objects))
	for i := range doc.Objects {
		doc.Ready = doc.Ready && (doc.Objects[i].Ready || doc.Objects[i].Ignored)
	}
	return doc
}

// add takes in one of the service's workloads: the worst state is the service's.
func (s *statusService) add(st *deploy.WorkloadStatus, p *config.Project, now time.Time) {
	state := "ready"
	switch {
	case st.Ready:
	case st.Problem != nil:
		state = "failed"
	case st.Absent:
		state = "absent"
	default:
		state = "progressing"
	}
	order := []string{"ready", "absent", "progressing", "failed"}
	if slices.Index(order, state) > slices.Index(order, s.State) {
		s.State, s.Waiting = state, st.Waiting
	}
	s.Unwatched = append(s.Unwatched, deploy.Unwatched([]deploy.WorkloadStatus{*st})...)
	s.Desired, s.Ready, s.Old = s.Desired+st.Desired, s.Ready+st.ReadyReplicas, s.Old+st.Old
	if st.Problem != nil && s.Problem == nil {
		s.Problem = st.Problem
	}
	if !st.Ready {
		s.explain = append(s.explain, st.Explanation(now))
	}
	for _, pod := range st.Pods {
		v := podView(pod, st, now)
		if st.Namespace != "" {
			v.Name = st.Namespace + "/" + v.Name
		}
		s.Pods = append(s.Pods, v)
		if image := imageOf(pod, s.Name, p); image != "" && s.Image == "" {
			s.Image = image
		}
	}
}

func podView(pod *corev1.Pod, st *deploy.WorkloadStatus, now time.Time) statusPod {
	v := statusPod{Name: pod.Name, Node: pod.Spec.NodeName, IP: pod.Status.PodIP, AgeMS: now.Sub(pod.CreationTimestamp.Time).Milliseconds(), Old: st.IsOld(pod)}
	for _, c := range pod.Status.ContainerStatuses {
		v.Restarts += int(c.RestartCount)
	}
	for _, s := range deploy.Stages(pod, now) {
		v.Stages = append(v.Stages, statusStage{s.Name, s.Done, s.Took.Milliseconds()})
		v.Ready = s.Done // ready is the last
	}
	return v
}

// imageOf is the reference that a pod runs for a service: its only one, or the one
// that is the service's.
func imageOf(pod *corev1.Pod, service string, p *config.Project) string {
	for _, c := range pod.Spec.Containers {
		s, ok := p.Service(service)
		if len(pod.Spec.Containers) == 1 || ok && (deploy.Image{Service: s.Name, Repository: s.Image}).Matches(c.Image) || strings.Contains(c.Image, "/"+service+":") {
			return c.Image
		}
	}
	return ""
}

// key is all of a document but its times.
func (doc *statusDocument) key() string {
	var b strings.Builder
	for _, s := range doc.Services {
		fmt.Fprintf(&b, "%s %s %d/%d %d %s %s\n", s.Name, s.State, s.Ready, s.Desired, s.Old, s.Image, s.Waiting)
		fmt.Fprintln(&b, s.Unwatched)
		if s.Problem != nil {
			fmt.Fprintln(&b, s.Problem, s.Problem.Output)
		}
		for _, p := range s.Pods {
			fmt.Fprintln(&b, p.Name, p.Ready, p.Old, p.Restarts)
			for _, st := range p.Stages {
				fmt.Fprint(&b, st.Done, " ")
			}
		}
	}
	for i := range doc.Objects {
		explainObject(&b, &doc.Objects[i])
	}
	return b.String()
}

// text writes a table of the services and their pods, and what is wrong below it.
func (doc *statusDocument) text(out io.Writer, watch bool) error {
	var b strings.Builder
	if watch {
		fmt.Fprintf(&b, "-- %s\n", doc.Time.Format("15:04:05"))
	}
	fmt.Fprintf(&b, "%s, environment %s: context %s, namespace %s\n", doc.Project, doc.Environment, doc.Context, doc.Namespace)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(doc.Services) == 0 {
		b.WriteString("nothing of this project runs there\n")
	} else {
		fmt.Fprintf(w, "SERVICE\tSTATE\tREADY\tRESTARTS\tAGE\tSTART\n")
	}
	for _, s := range doc.Services {
		restarts := 0
		for _, p := range s.Pods {
			restarts += p.Restarts
		}
		fmt.Fprintf(w, "%s\t%s\t%d/%d\t%d\t\t%s\n", s.Name, s.State, s.Ready, s.Desired, restarts, s.waiting())
		for _, p := range s.Pods {
			mark := ""
			if p.Old {
				mark = " (old)"
			}
			fmt.Fprintf(w, "  %s%s\t\t\t%d\t%s\t%s\n", p.Name, mark, p.Restarts, age(time.Duration(p.AgeMS)*time.Millisecond), p.stages())
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range doc.Services {
		if s.State == "failed" {
			b.WriteString("\n" + strings.Join(s.explain, ""))
		}
		if len(s.Unwatched) > 0 {
			b.WriteString("\n" + strings.Join(s.Unwatched, "\n") + "\n")
		}
	}
	for i := range doc.Objects {
		if o := &doc.Objects[i]; o.Waiting != "its creation" || len(doc.Services) > 0 && doc.Services[0].State != "absent" {
			explainObject(&b, o)
		}
	}
	_, err := io.WriteString(out, trimLines(b.String()))
	return err
}

func (s *statusService) waiting() string {
	if s.State == "ready" || s.Waiting == "" {
		return ""
	}
	return "waits for " + s.Waiting
}

// stages writes where the time of a pod's start went.
func (p *statusPod) stages() string {
	var parts []string
	for _, s := range p.Stages {
		took := time.Duration(s.TookMS) * time.Millisecond
		if took >= 0 {
			took = took.Round(time.Second)
		}
		if !s.Done {
			parts = append(parts, fmt.Sprintf("%s … %s", s.Name, took))
			break
		}
		if took >= 0 {
			parts = append(parts, fmt.Sprintf("%s %s", s.Name, took))
		} else {
			parts = append(parts, s.Name)
		}
	}
	return strings.Join(parts, ", ")
}

// age writes how old something is, as kubectl does.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
