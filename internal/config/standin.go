package config

import (
	"path/filepath"
	"regexp"
	"strings"
)

// A StandIn is the program on this machine that runs in the place of a service's
// own: what connects to the service's pods is carried to it.
type StandIn struct {
	Local     // a server, with the service's name
	Port  int // of this machine, that it listens on; 0: the one that the container has
	To    int // port of the container that Port stands for; 0: its first one
}

type standInFile struct {
	Run   commandFile     `yaml:"run" required:"true" doc:"command that goes on, on this machine; a string is given to sh -c"`
	Port  portFile        `yaml:"port" default:"the container's ports" doc:"port that it listens on; LOCAL:REMOTE where the container has several"`
	On    []string        `yaml:"on" doc:"patterns of files, relative to the project, whose change starts it anew"`
	Ready readyFile       `yaml:"ready" default:"when port accepts a connection, else when it was started" doc:"when it is ready: a URL that answers, a port that accepts, or {log: EXPRESSION} that matches a line"`
	Dir   string          `yaml:"dir" check:"inside" default:"the build context" doc:"folder in which the command runs, relative to kdev.yaml"`
	Env   map[string]text `yaml:"env" keys:"variable" doc:"variables for the command, over those of the container"`
}

// standIn makes the program that stands in for a service; nil where there is none.
func (r *resolver) standIn(name string, f standInFile, build *Build) *StandIn {
	at := join("services", name) + ".local"
	if _, written := r.d.at[at]; !written || len(f.Run) == 0 || r.troubled(at) {
		return nil
	}
	where := r.where("%s", at)
	s := &StandIn{Local: Local{
		Name: name, Where: where.String(), Serve: f.Run, On: f.On, Env: texts(f.Env), Command: commandText(f.Run),
		Ready: Ready{HTTP: f.Ready.HTTP, Port: f.Ready.Port, Log: f.Ready.Log},
	}}
	bad := func(key, hint, format string, args ...any) {
		r.add(usage("config-local", r.where("%s%s", at, key), hint, format, args...))
	}
	if build == nil {
		bad("", "add build: {image: IMAGE} with the image that the manifests name", "service %s has no build: its pods have no agent of kdev, which carries connections here", name)
		return nil
	}
	s.Dir = build.Context
	if f.Dir != "" {
		s.Dir = filepath.Join(r.root, filepath.FromSlash(f.Dir))
		if !isFolder(r.root, f.Dir) {
			r.add(usage("config-path", r.where("%s.dir", at), "check the path: it is relative to "+FileName, "no folder %s", f.Dir))
		}
	}
	if f.Port != "" {
		p, _ := ParsePort(string(f.Port)) // the decoder has checked it
		s.Port = p.Local
		switch n := strings.Count(string(f.Port), ":"); n {
		case 0:
		case 1:
			s.To = p.Remote
		default:
			bad(".port", "write it as 3000 or 3000:80", "%s: the program that stands in is reached at localhost, not at %s", f.Port, p.Host)
		}
		if s.Ready == (Ready{}) {
			s.Ready.Port = s.Port
		}
	}
	if _, err := onSyncMatcher(f.On); err != nil {
		r.add(usage("config-value", r.where("%s.on", at), `write it as "src/**" or "*.py"`, "a pattern of on cannot be read: %v", err))
	}
	if s.Ready.Log != "" {
		if _, err := regexp.Compile(s.Ready.Log); err != nil {
			bad(".ready", "write a regular expression of Go: {log: \"listening on\"}", "%s.ready.log cannot be read: %v", at, err)
		}
	}
	return s
}

// commandText is a command as a person wrote it.
func commandText(command []string) string {
	if len(command) == 3 && command[0] == "sh" && command[1] == "-c" {
		return command[2]
	}
	return strings.Join(command, " ")
}
