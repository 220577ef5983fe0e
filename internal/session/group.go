package session

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Group is several projects that are up together: the one that was asked for, and
// those that it includes. Each has a session of its own, with its own namespace, so
// that none waits for another; the group is one thing for faces and for the control
// socket. What belongs to an included project is called PROJECT/NAME there.
type Group struct {
	main   *Session
	others []*Session

	mu   sync.Mutex
	from []*State // of which merged was made
	made *State
}

// NewGroup joins sessions that are not running yet.
func NewGroup(main *Session, others ...*Session) *Group {
	return &Group{main: main, others: others}
}

// Sessions are those of the group, the main one first.
func (g *Group) Sessions() []*Session { return append([]*Session{g.main}, g.others...) }

// Run runs all sessions until ctx is done, or until one of them ends.
func (g *Group) Run(ctx context.Context) error {
	if len(g.others) == 0 {
		return g.main.Run(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	errs := make([]error, 1+len(g.others))
	for i, s := range g.Sessions() {
		work.Go(func() {
			defer cancel()
			errs[i] = s.Run(ctx)
		})
	}
	work.Wait()
	return cmp.Or(errs...)
}

// nameIn is how something of an included project is called in the group.
func (s *Session) nameIn(name string) string {
	if name == "" {
		return s.name
	}
	return s.name + "/" + name
}

// State is the newest snapshot of all of them.
func (g *Group) State() *State {
	if len(g.others) == 0 {
		return g.main.State()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var now []*State
	for _, s := range g.Sessions() {
		now = append(now, s.State())
	}
	if g.made != nil && slices.Equal(now, g.from) {
		return g.made
	}
	st := *now[0]
	st.Services, st.Problems = slices.Clone(st.Services), slices.Clone(st.Problems)
	st.Objects, st.Tasks = slices.Clone(st.Objects), slices.Clone(st.Tasks)
	for i, s := range g.others {
		st.include(s, now[i+1])
	}
	g.from, g.made = now, &st
	return g.made
}

// include adds what the session of another project says.
func (st *State) include(s *Session, other *State) {
	for _, svc := range other.Services {
		svc.Name, svc.Project, svc.Namespace = s.nameIn(svc.Name), other.Project, other.Namespace
		if w := svc.Waiting; w != nil && (w.Reason == ForNeeds || w.Reason == ForGenerator) {
			of := *w
			of.On = make([]string, len(w.On))
			for i, name := range w.On {
				of.On[i] = s.nameIn(name)
			}
			svc.Waiting = &of
		}
		st.Services = append(st.Services, svc)
	}
	for _, o := range other.Objects {
		o.Project = other.Project
		st.Objects = append(st.Objects, o)
	}
	for _, t := range other.Tasks {
		t.Name, t.Service = s.nameIn(t.Name), s.nameIn(t.Service)
		st.Tasks = append(st.Tasks, t)
	}
	for _, p := range other.Problems {
		of := *p
		of.Where = strings.TrimSuffix(other.Project+": "+p.Where, ": ")
		st.Problems = append(st.Problems, &of)
	}
	st.Ready, st.Deployed = st.Ready && other.Ready, st.Deployed || other.Deployed
	st.URL = cmp.Or(st.URL, other.URL)
}

// Subscribe gives a signal that the State changed, coalesced, and the function
// that ends it.
func (g *Group) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	for _, s := range g.Sessions() {
		s.mu.Lock()
		s.watched[ch] = struct{}{}
		s.mu.Unlock()
	}
	return ch, func() {
		for _, s := range g.Sessions() {
			s.mu.Lock()
			delete(s.watched, ch)
			s.mu.Unlock()
		}
	}
}

// OnNotice hands every later notice to f, from the goroutines of all sessions, one at
// a time: f must not block.
func (g *Group) OnNotice(f func(Notice)) {
	var one sync.Mutex
	for _, s := range g.Sessions() {
		s.OnNotice(func(n Notice) {
			switch {
			case s != g.main:
				n.Service = s.nameIn(n.Service)
			case n.Code == "ready" && len(g.others) > 0:
				n.Text = "everything of " + s.name + " is ready" // the others tell for themselves
			}
			one.Lock()
			defer one.Unlock()
			f(n)
		})
	}
}

// OnOutput hands every later line of local work to f, which must not block.
func (g *Group) OnOutput(f func(service, line string)) {
	g.main.OnOutput(f)
	for _, s := range g.others {
		s.OnOutput(func(service, line string) { f(s.nameIn(service), line) })
	}
}

// Down says whether the group was ended by one who wants what it deployed removed.
func (g *Group) Down() bool { return g.main.Down() }

// Do hands a command to the session that it means, or to all of them.
func (g *Group) Do(ctx context.Context, c Command) (string, error) {
	if len(g.others) == 0 {
		return g.main.Do(ctx, c)
	}
	switch {
	case c.Verb == DoStop || c.Verb == DoDown:
		return g.main.Do(ctx, c) // the others end with it
	case c.Verb == DoDelete && c.Service == "":
		c.Service = g.State().ServiceOf("", c.Pod)
		if c.Service == "" {
			return g.main.Do(ctx, c) // which says that nobody has it
		}
	case c.Verb == DoTask:
		return g.task(ctx, c)
	case c.Service == "":
		return g.all(ctx, c)
	}
	for _, s := range g.others {
		if c.Service == s.name && c.Verb != DoStart {
			if _, is := g.main.State().Service(c.Service); !is { // the whole project
				c.Service = ""
				return s.Do(ctx, c)
			}
		}
		if name, ok := strings.CutPrefix(c.Service, s.nameIn("")+"/"); ok {
			c.Service = name
			text, err := s.Do(ctx, c)
			if p := problem.As(err); p != nil && p.Code == "service-unknown" {
				err = Unknown(s.nameIn(name), g.State().Names())
			}
			return text, err
		}
	}
	text, err := g.main.Do(ctx, c)
	if p := problem.As(err); p != nil && p.Code == "service-unknown" {
		err = Unknown(c.Service, g.State().Names())
	}
	return text, err
}

// all asks each session, and joins what they say. It is refused where each of them
// refuses it.
func (g *Group) all(ctx context.Context, c Command) (string, error) {
	var said []string
	var refusal error
	did := false
	for i, s := range g.Sessions() {
		text, err := s.Do(ctx, c)
		if p := problem.As(err); p != nil && p.Code == "command-refused" {
			refusal = cmp.Or(refusal, err)
			continue
		}
		if err != nil {
			return "", err
		}
		did = true
		if text = strings.TrimRight(text, "\n"); text == "" {
			continue
		}
		if i > 0 {
			between := " "
			if strings.Contains(text, "\n") {
				between = "\n"
			}
			text = s.name + ":" + between + text
		}
		said = append(said, text)
	}
	if !did {
		return "", refusal
	}
	return strings.Join(said, "\n"), nil
}
