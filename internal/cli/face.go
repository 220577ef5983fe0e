package cli

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/source"
)

// A face shows one session. notice may be called from the start. show is called
// once there is a session; it returns at once, or, where the face takes keys, when
// the person has left or ctx is done. close writes what is still on its way.
type face interface {
	notice(session.Notice)
	output(service, line string) // of local work; from several goroutines
	show(ctx context.Context, s session.Control, members []member) (left bool, err error)
	close() error
}

func (o *upOptions) face(p *config.Project, facts term.Facts) (face, error) {
	run := runAndKeep
	if o.joins {
		run = runOnly
	}
	switch {
	case o.output == "json":
		return &jsonFace{out: o.env.Out}, nil
	case o.dashboard(facts):
		d, err := newDashboard(o.env, p, facts, &o.hide, run)
		if err == nil {
			d.environments, d.context = namesOfEnvironments(p), o.flags.context
		}
		return d, err
	}
	return newPlainFace(o.env, p, facts, o.spoken(), &o.hide, run)
}

// spoken says whether the lines are for a screen reader.
func (o *upOptions) spoken() bool { return o.accessible || o.env.Getenv("ACCESSIBLE") != "" }

// dashboard says whether this is a terminal at which a person sits. Whatever is
// asked for by a script ends by itself or is read by a program.
func (o *upOptions) dashboard(facts term.Facts) bool {
	in := term.Detect(o.env.In, term.ColorNever, o.env.Getenv)
	return facts.TTY && in.TTY && !o.plain && !o.spoken() && o.until == "" && o.env.Getenv("CI") == "" && o.env.Getenv("TERM") != "dumb"
}

// plainFace writes notices and the lines of all pods through one hub, so that
// they come out whole and in order.
type plainFace struct {
	plain plain
	hub   *logs.Hub
	stop  context.CancelFunc
	done  chan error
}

func newPlainFace(env Env, p *config.Project, facts term.Facts, spoken bool, hide *secrets, run runHub) (*plainFace, error) {
	hub, err := logs.New(logs.Options{Out: env.Out, Mask: &hide.mask, Format: format.Options{Color: facts.Color, Safe: facts.TTY, Spoken: spoken}})
	if err != nil {
		return nil, err
	}
	// The hub outlives the session's context: what is said on leaving goes
	// through it too.
	ctx, stop := context.WithCancel(context.Background())
	f := &plainFace{hub: hub, stop: stop, done: make(chan error, 1)}
	f.plain = plain{out: hub.Source(""), colour: facts.Color, width: nameWidth(p), spoken: spoken}
	go func() { f.done <- run(ctx, env, p, hub, hide) }()
	return f, nil
}

// nameWidth is the width of the column of names.
func nameWidth(p *config.Project) int {
	width := len("kdev")
	for _, s := range p.Services {
		width = max(width, len(s.Name))
	}
	for _, l := range p.Local {
		width = max(width, len(l.Name))
	}
	for _, one := range p.Include {
		width = max(width, len(one.Project.Name+"/")+nameWidth(one.Project))
	}
	return min(width, 20)
}

func (f *plainFace) notice(n session.Notice) {
	if n.Code == "build-output" {
		f.hub.Source("build/" + n.Service).WriteLine(n.Text)
		return
	}
	f.plain.notice(n)
}

func (f *plainFace) output(service, line string) { f.hub.Source("local/" + service).WriteLine(line) }

func (f *plainFace) show(_ context.Context, _ session.Control, members []member) (bool, error) {
	for _, m := range members {
		f.hub.Follow(selection(m.session, m.parts))
	}
	return false, nil
}

func (f *plainFace) close() error {
	f.stop()
	if err := <-f.done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// selection is every container of the project's workloads: lines from now on
// of what runs already, all lines of what comes.
func selection(s *session.Session, parts *session.Parts) logs.Selection {
	return logs.Selection{
		Opener: source.API(parts.Kube.Streams()),
		Early:  early(parts.Kube),
		Pods:   ownedPods{parts.Live, s},
		Select: func(pod *corev1.Pod, _ string, _ logs.ContainerType) bool { return s.Owns(pod) },
		From:   source.Options{Follow: true, Since: time.Now()},
	}
}

// ownedPods signals a change after the session has seen it, so that a new pod
// is known to be the project's when it is looked at.
type ownedPods struct {
	*kube.Namespace
	session *session.Session
}

func (p ownedPods) Subscribe() (<-chan struct{}, func()) { return p.session.Subscribe() }

// jsonFace writes one object for each notice. Lines of pods are not in it:
// `kdev logs --output json` has them.
type jsonFace struct {
	mu  sync.Mutex
	out io.Writer
}

// event is the documented form of a notice: one line of `kdev up --output json`
// and of `kdev events`.
type event struct {
	APIVersion string `json:"apiVersion"`
	session.Notice
}

func (f *jsonFace) notice(n session.Notice) {
	if n.Time.IsZero() {
		n.Time = time.Now()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = writeJSON(f.out, event{apiVersion, n}) // strings, numbers and times always marshal
}

// output is not among the events, as the lines of pods are not.
func (f *jsonFace) output(string, string) {}

func (f *jsonFace) show(context.Context, session.Control, []member) (bool, error) {
	return false, nil
}
func (f *jsonFace) close() error { return nil }
