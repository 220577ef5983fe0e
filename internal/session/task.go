package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/process"
)

// A Task is a command of kdev.yaml for a container.
type Task struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Command string `json:"command"`
	Running bool   `json:"running,omitempty"`
}

// tasks are those that run. They outlive a loop: a saved kdev.yaml must not cut a
// migration in two.
type tasks struct {
	changed chan struct{} // one began or ended; coalesced
	work    sync.WaitGroup

	mu      sync.Mutex
	running map[string]bool
	news    []Notice // of those that ended, for the loop to tell
}

// begin says whether no task of this name runs, and that one does now.
func (t *tasks) begin(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[name] {
		return false
	}
	t.running[name] = true
	return true
}

func (t *tasks) end(name string, n Notice) {
	t.mu.Lock()
	delete(t.running, name)
	t.news = append(t.news, n)
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default: // the loop has not looked at the last one yet
	}
}

// close waits for the tasks; the session's context has ended.
func (t *tasks) close() { t.work.Wait() }

// seeTasks tells of tasks that ended, and returns all for the State.
func (l *loop) seeTasks() []Task {
	t := &l.s.tasks
	t.mu.Lock()
	news := t.news
	t.news = nil
	var all []Task
	for i := range l.s.opts.Project.Tasks {
		c := &l.s.opts.Project.Tasks[i]
		all = append(all, Task{Name: c.Name, Service: c.Service, Command: c.Text(), Running: t.running[c.Name]})
	}
	t.mu.Unlock()
	for _, n := range news {
		l.s.tell(n)
	}
	return all
}

// runTask begins a task in the pod of its service that a person most likely means.
func (l *loop) runTask(c Command) (string, error) {
	task, ok := l.s.opts.Project.Task(c.Task)
	if !ok {
		return "", UnknownTask(c.Task, l.s.opts.Project.TaskNames())
	}
	svc, ok := l.s.State().Service(task.Service)
	if !ok {
		return "", l.unknown(task.Service)
	}
	pod, container, ok := svc.Target()
	if !ok {
		return "", NoPod(l.s.called(svc.Name))
	}
	if !l.s.tasks.begin(task.Name) {
		return "", refused("task %s is running already", l.s.called(task.Name))
	}
	l.s.tell(Notice{Level: Info, Service: svc.Name, Code: "task-started", Text: fmt.Sprintf("task %s in %s: %s", task.Name, pod, task.Text())})
	l.s.tasks.work.Go(func() { l.s.task(l.whole, *task, svc.Name, pod, container) })
	return fmt.Sprintf("running task %s in %s", l.s.called(task.Name), pod), nil
}

// task runs to the end of the command, or of ctx.
func (s *Session) task(ctx context.Context, t config.Task, service, pod, container string) {
	start := time.Now()
	out := &process.Lines{Tell: func(line string) {
		if s.parts.Hide != nil {
			line = s.parts.Hide(line)
		}
		s.output(service, line)
	}}
	err := s.parts.Kube.Exec(ctx, s.opts.Project.Namespace, pod, container, t.Command, nil, out, out)
	out.Flush()
	n := Notice{Level: Done, Service: service, Code: "task-done", Text: "task " + t.Name + " is done", Took: Millis(time.Since(start))}
	if err != nil {
		n.Level, n.Code, n.Text = Fail, "task-failed", "task "+t.Name+" failed"
		n.Problem = &problem.Problem{Code: "task-failed", Where: t.Where, Output: strings.Join(out.Tail(), "\n"),
			Summary: fmt.Sprintf("`%s` in %s", t.Text(), pod), Err: err,
			Hint: "`kdev run " + s.called(t.Name) + "` runs it again, with a terminal; `kdev exec " + s.called(service) + "` looks around there"}
		var exit *kube.ExitError
		if errors.As(err, &exit) {
			n.Problem.Summary, n.Problem.Err = fmt.Sprintf("`%s` ended with exit code %d", t.Text(), exit.Code), nil
		}
	}
	s.tasks.end(t.Name, n)
}

// task hands a task to the session of the project that has it.
func (g *Group) task(ctx context.Context, c Command) (string, error) {
	asked, of := c.Task, g.main
	for _, s := range g.others {
		if name, ok := strings.CutPrefix(c.Task, s.nameIn("")+"/"); ok {
			c.Task, of = name, s
		}
	}
	text, err := of.Do(ctx, c)
	if p := problem.As(err); p != nil && p.Code == "task-unknown" {
		var names []string
		for _, t := range g.State().Tasks {
			names = append(names, t.Name)
		}
		err = UnknownTask(asked, names)
	}
	return text, err
}

// UnknownTask is the problem of a name that no task has; names are those that
// there are.
func UnknownTask(name string, names []string) error {
	hint := "there are: " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "kdev.yaml has none; docs/config.md, tasks"
	}
	return &problem.Problem{Class: problem.Usage, Code: "task-unknown", Summary: "there is no task " + name, Hint: hint}
}

// NoPod is the problem of a service that has no pod to run a command in.
func NoPod(service string) error {
	return &problem.Problem{Code: "pod-unknown", Where: service, Summary: "it has no pod to run a command in",
		Hint: "`kdev status` says why, and lists the pods with --output json"}
}

// Target is the pod, and the container of it, that a person most likely means by the
// service: ready, of the newest template, young; the container with the service's image.
func (svc *Service) Target() (pod, container string, ok bool) {
	var chosen *Pod
	for i := range svc.Pods {
		if p := &svc.Pods[i]; p.Status != "Terminating" && (chosen == nil || p.better(chosen)) {
			chosen = p
		}
	}
	if chosen == nil {
		return "", "", false
	}
	own := slices.DeleteFunc(slices.Clone(chosen.Containers), func(c Container) bool { return c.Init })
	for _, c := range own {
		if c.Image == svc.Image {
			return chosen.Name, c.Name, true
		}
	}
	if len(own) == 0 {
		return "", "", false
	}
	return chosen.Name, own[0].Name, true
}

func (p *Pod) better(than *Pod) bool {
	switch {
	case p.Ready != than.Ready:
		return p.Ready
	case p.Old != than.Old:
		return than.Old
	}
	return p.Created.After(than.Created)
}
