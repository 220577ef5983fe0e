package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Local is work that `kdev up` does on this machine: a generator, which runs to
// its end, or a server, which goes on.
type Local struct {
	Name    string
	Where   string   // "kdev.yaml:12"
	Run     []string // of a generator
	Serve   []string // of a server; just one of the two is set
	On      []string // see Concerns
	Before  Before   // of a generator
	Ready   Ready    // of a server
	Dir     string   // absolute
	Env     map[string]string
	Needs   []string // services, workloads or local work
	Manual  bool     // `trigger: manual`: what is saved waits
	ByHand  bool     // `start: manual`: it is not started by itself
	Command string   // as kdev.yaml has it, for people
}

// Concerns says whether a file, relative to the project with slashes, is one that
// the work is run again for.
func (l *Local) Concerns(path string) bool {
	return len(l.On) > 0 && OnSync{Paths: l.On}.Matches(path)
}

// Before is what waits for a generator.
type Before struct {
	Build    bool     // every image that kdev makes
	Deploy   bool     // the manifests are rendered after it
	Services []string // these alone: their images, or their objects where kdev makes none
}

// Holds says whether a service waits for the generator itself, and not only for
// the manifests.
func (b Before) Holds(service string, built bool) bool {
	return b.Build && built || slices.Contains(b.Services, service)
}

// Ready says when a server is ready; nothing set is: when it was started.
type Ready struct {
	HTTP string
	Port int
	Log  string // regular expression
}

type localFile struct {
	Name    string          `yaml:"name" check:"label" default:"made of the command" doc:"what it is called, among the services"`
	Run     commandFile     `yaml:"run" doc:"a generator: a command that runs to its end, on this machine; a string is given to sh -c"`
	Serve   commandFile     `yaml:"serve" doc:"a server: a command that goes on until kdev up ends; a string is given to sh -c"`
	On      []string        `yaml:"on" doc:"patterns of files, relative to the project, whose change runs it again; one without a slash matches in every folder"`
	Before  beforeFile      `yaml:"before" default:"build" doc:"what waits for the generator: build (images), deploy (manifests), or a list of services"`
	Ready   readyFile       `yaml:"ready" default:"when it was started" doc:"when the server is ready: a URL that answers, a port that accepts, or {log: EXPRESSION} that matches a line"`
	Dir     string          `yaml:"dir" check:"inside" default:"the project's" doc:"folder in which the command runs"`
	Env     map[string]text `yaml:"env" keys:"variable" doc:"variables for the command"`
	Needs   []string        `yaml:"needs" check:"label" doc:"services, workloads or local work that have to be ready before its first start"`
	Trigger string          `yaml:"trigger" enum:"auto,manual" default:"auto" doc:"manual: what is saved waits for kdev trigger"`
	Start   string          `yaml:"start" enum:"auto,manual" default:"auto" doc:"manual: kdev up does not start it; kdev trigger, or what needs it, does"`
}

// Values that may be written in more than one way; see special.
type (
	beforeFile struct { // build, deploy, or a list of services
		Stage    string
		Services []string
	}
	readyFile struct { // http://…, a port, or {log: …}
		HTTP string
		Port int
		Log  string
	}
	logFile struct {
		Log string `yaml:"log" required:"true" doc:"regular expression that matches a line of the output"`
	}
)

// local makes the local work of a project.
func (r *resolver) local() {
	taken := map[string]string{} // name -> where
	for i := range r.p.Services {
		taken[r.p.Services[i].Name] = r.p.Services[i].Where
	}
	for i, f := range r.f.Local {
		at := fmt.Sprintf("local[%d]", i)
		where := r.where("%s", at)
		l := Local{
			Name: f.Name, Where: where.String(), Run: f.Run, Serve: f.Serve, On: f.On, Env: texts(f.Env), Needs: f.Needs,
			Dir: filepath.Join(r.root, filepath.FromSlash(f.Dir)), Manual: f.Trigger == "manual", ByHand: f.Start == "manual",
			Ready: Ready{HTTP: f.Ready.HTTP, Port: f.Ready.Port, Log: f.Ready.Log},
		}
		if r.troubled(at) {
			continue // the decoder has said so
		}
		if !r.localKind(at, f, &l) {
			continue
		}
		if f.Dir != "" && !isFolder(r.root, f.Dir) {
			r.add(usage("config-path", r.where("%s.dir", at), "check the path: it is relative to "+FileName, "no folder %s", f.Dir))
		}
		if _, err := onSyncMatcher(f.On); err != nil {
			r.add(usage("config-value", r.where("%s.on", at), `write it as "proto/**" or "*.proto"`, "a pattern of on cannot be read: %v", err))
		}
		if l.Name == "" {
			l.Name = label(l.Command)
			l.Name = strings.Trim(l.Name[:min(len(l.Name), 40)], "-")
		}
		if l.Name == "" {
			r.add(usage("config-local", where, "give it one: name: NAME", "no name can be made of the command %s", l.Command))
			continue
		}
		if by, ok := taken[l.Name]; ok {
			r.add(usage("config-local", where, "give it another name: name: NAME", "%s is also the name of what %s says", l.Name, by))
		}
		taken[l.Name] = l.Where
		r.p.Local = append(r.p.Local, l)
	}
	r.localNames()
}

// localKind checks what a generator may say and a server may not.
func (r *resolver) localKind(at string, f localFile, l *Local) bool {
	_, before := r.d.at[at+".before"]
	_, ready := r.d.at[at+".ready"]
	bad := func(key, hint, format string, args ...any) bool {
		r.add(usage("config-local", r.where("%s%s", at, key), hint, format, args...))
		return false
	}
	command := l.Run
	switch {
	case l.Run != nil && l.Serve != nil:
		return bad("", "make it two entries of the list", "%s has both run and serve", at)
	case l.Run == nil && l.Serve == nil:
		return bad("", "add run: COMMAND for one that ends, or serve: COMMAND for one that goes on", "%s has no command", at)
	case l.Serve != nil && before:
		return bad(".before", "let the services say what they wait for: needs", "before is for generators, and %s has serve", at)
	case l.Run != nil && ready:
		return bad(".ready", "take it out: a generator is ready when its command has succeeded", "ready is for servers, and %s has run", at)
	case l.Serve != nil:
		command = l.Serve
	default:
		stage := f.Before.Stage
		l.Before = Before{Build: stage == "build" || stage == "" && f.Before.Services == nil, Deploy: stage == "deploy", Services: f.Before.Services}
	}
	l.Command = commandText(command)
	if l.Ready.Log != "" {
		if _, err := regexp.Compile(l.Ready.Log); err != nil {
			return bad(".ready", "write a regular expression of Go: {log: \"listening on\"}", "%s.ready.log cannot be read: %v", at, err)
		}
	}
	return true
}

// localNames checks what generators name, when all names are known.
func (r *resolver) localNames() {
	isLocal := func(name string) bool {
		return slices.ContainsFunc(r.p.Local, func(l Local) bool { return l.Name == name })
	}
	for i := range r.p.Local {
		l := &r.p.Local[i]
		at := r.localAt(l)
		for j, name := range l.Before.Services {
			if isLocal(name) {
				r.add(usage("config-local", r.where("%s.before[%d]", at, j), "let that one say so: needs: ["+l.Name+"]", "before names services, and %s is local work", name))
			}
		}
		for j, name := range l.Needs {
			if l.Before.Deploy && !isLocal(name) {
				r.add(usage("config-needs", r.where("%s.needs[%d]", at, j), "take it out, or write before: build", "%s runs before anything is deployed, and needs %s", l.Name, name))
			}
		}
	}
}

// localAt is the place of local work in the file.
func (r *resolver) localAt(l *Local) string {
	for i := range r.f.Local {
		if at := fmt.Sprintf("local[%d]", i); r.where("%s", at).String() == l.Where {
			return at
		}
	}
	return "local"
}
