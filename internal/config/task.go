package config

import (
	"maps"
	"slices"
)

// A Task is a command that runs in a container of a service when a person asks for it.
type Task struct {
	Name    string
	Where   string // "kdev.yaml:7"
	Service string // or a workload of the manifests
	Command []string
}

type taskFile struct {
	Service string      `yaml:"service" check:"label" required:"true" doc:"the service, or workload of the manifests, in whose container it runs"`
	Command commandFile `yaml:"command" required:"true" doc:"the command; a string is given to sh -c"`

	On later `yaml:"on"`
}

// Text is the command as a person wrote it.
func (t *Task) Text() string { return commandText(t.Command) }

// Task finds a task by its name.
func (p *Project) Task(name string) (*Task, bool) {
	for i := range p.Tasks {
		if p.Tasks[i].Name == name {
			return &p.Tasks[i], true
		}
	}
	return nil, false
}

// TaskNames are those that there are.
func (p *Project) TaskNames() []string {
	names := make([]string, len(p.Tasks))
	for i := range p.Tasks {
		names[i] = p.Tasks[i].Name
	}
	return names
}

func (r *resolver) tasks() {
	for _, name := range slices.Sorted(maps.Keys(r.f.Tasks)) {
		at := join("tasks", name)
		if t := r.f.Tasks[name]; !r.troubled(at) {
			r.p.Tasks = append(r.p.Tasks, Task{Name: name, Where: r.where("%s", at).String(), Service: t.Service, Command: t.Command})
		}
	}
}
