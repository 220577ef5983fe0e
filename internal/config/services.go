package config

import (
	"fmt"
	"maps"
	"net"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func (r *resolver) services() {
	found := detectServices(r.root, r.p.Name)
	names := slices.Collect(maps.Keys(r.f.Services))
	if !r.listed {
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if _, ok := r.f.Services[name]; !ok {
				names = append(names, name)
				r.p.Detected = append(r.p.Detected, "service "+name+": "+path.Join(found[name], "Dockerfile"))
			}
		}
	}
	if r.listed {
		r.p.Unlisted = maps.Clone(found)
		for name, folder := range found {
			if _, ok := r.f.Services[name]; ok || slices.ContainsFunc(slices.Collect(maps.Values(r.f.Services)), func(s serviceFile) bool { return path.Clean(s.Build.Context) == folder }) {
				delete(r.p.Unlisted, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		f := r.f.Services[name]
		at := join("services", name)
		s := Service{Name: name, Image: f.Image, Needs: needNames(f.Needs), Manual: f.Trigger == "manual", StartManual: f.Start == "manual", IgnoreReady: f.Ready == "ignore"}
		s.Build = r.build(name, f.Build, found)
		if pos, ok := r.d.at[at]; ok {
			s.Where = pos.String()
		} else {
			s.Where = r.name(s.Build.Dockerfile) // only a Dockerfile is detected
		}
		s.Sync = r.sync(at, f.Sync, s.Build)
		s.OnSync = r.onSync(at, f.OnSync)
		s.Ports = r.ports(at, f.Ports)
		s.StandIn = r.standIn(name, f.Local, s.Build)
		for i, n := range s.Needs {
			if n == name {
				r.add(usage("config-needs", r.where("%s.needs[%d]", at, i), "take it out", "%s needs itself", name))
			}
		}
		r.p.Services = append(r.p.Services, s)
	}
	r.clashes()
}

// build finds the context and the Dockerfile of a service. Nil is a service
// that has no folder: its image is somebody else's.
func (r *resolver) build(name string, f buildFile, found map[string]string) *Build {
	at := join("services", name) + ".build"
	_, written := r.d.at[at]
	context := path.Clean(f.Context)
	switch {
	case f.Context != "":
	case found[name] != "":
		context = found[name]
	case isFolder(r.root, name):
		context = name
	case len(r.f.Services) == 1 && isFile(r.root, "Dockerfile"), written:
		context = "."
	default:
		return nil
	}
	where := r.where("%s.context", at)
	b := &Build{Context: filepath.Join(r.root, filepath.FromSlash(context)), Target: f.Target, Where: where.String()}
	if !written && found[name] != "" && r.d.at[join("services", name)].line == 0 {
		b.Where = path.Join(context, "Dockerfile")
	}
	b.Args = texts(f.Args)
	if !inside(f.Context) && f.Context != "" {
		return b // the decoder has said so
	}
	if !isFolder(r.root, context) {
		r.add(usage("config-path", r.where("%s.context", at), "check the path: it is relative to "+FileName, "no folder %s", context))
		return b
	}
	if r.otherKind(at, f, b) {
		return b
	}
	r.steps(at, f, b)
	dockerfile := path.Join(context, "Dockerfile")
	if f.Dockerfile != "" {
		dockerfile = path.Join(context, f.Dockerfile)
		where = r.where("%s.dockerfile", at)
	}
	b.Dockerfile = filepath.Join(r.root, filepath.FromSlash(dockerfile))
	switch {
	case !inside(dockerfile) || path.IsAbs(f.Dockerfile):
		r.add(usage("config-path", where, "keep the Dockerfile below "+FileName, "%s is outside the project", f.Dockerfile))
	case !isFile(r.root, dockerfile):
		hint := "add one, or say under services." + name + " where it is: build: {context: FOLDER, dockerfile: FILE}"
		if f.Dockerfile != "" {
			hint = "check the path: it is relative to the context " + context
			if inside(f.Dockerfile) && isFile(r.root, f.Dockerfile) {
				if rel, err := filepath.Rel(b.Context, filepath.Join(r.root, filepath.FromSlash(f.Dockerfile))); err == nil {
					hint = "it is relative to the context " + context + ": write " + filepath.ToSlash(rel)
				}
			}
		}
		r.add(usage("config-dockerfile-missing", where, hint, "service %s has no %s", name, dockerfile))
	}
	return b
}

func (r *resolver) sync(at string, f syncFile, build *Build) Sync {
	s := Sync{Off: f.Off}
	for i, rule := range f.Rules {
		if rule.From == "" || rule.To == "" {
			continue // the decoder has said so
		}
		where := r.where("%s.sync[%d]", at, i)
		s.Rules = append(s.Rules, SyncRule{From: path.Clean(rule.From), To: syncTo(build, rule.From, rule.To), Volume: rule.Volume, Where: where.String()})
		if !rule.Volume {
			continue
		}
		switch {
		case path.Clean(rule.To) == "/":
			r.add(usage("config-value", where, "name the folder that your files are in", "volume: true cannot mount a copy of the whole root"))
		case build != nil && isFile(build.Context, rule.From):
			r.add(usage("config-value", where, "give from and to the folder that holds it", "volume: true mounts a folder, and %s is a file", rule.From))
		}
	}
	return s
}

// syncTo cleans the place of a rule. A slash at its end stays, unless from is a folder: there a
// single file keeps its name, as with COPY, and without the slash it would take
// the place of the folder.
func syncTo(build *Build, from, to string) string {
	clean := path.Clean(to)
	if !strings.HasSuffix(to, "/") || clean == "/" || build != nil && isFolder(build.Context, from) {
		return clean
	}
	return clean + "/"
}

func (r *resolver) onSync(at string, rules []onSyncFile) []OnSync {
	var out []OnSync
	for i, f := range rules {
		where := r.where("%s.onSync[%d]", at, i)
		o := OnSync{Paths: f.Paths, Run: f.Run, Restart: f.Restart.asked(), Container: f.Restart == restartContainer, Signal: strings.TrimPrefix(f.Signal, "SIG"), Where: where.String()}
		switch {
		case o.Restart && o.Signal != "":
			r.add(usage("config-value", where, "keep one of the two", "a rule of onSync has both restart and signal"))
		case !o.Restart && o.Signal == "" && o.Run == nil:
			if !r.troubled(fmt.Sprintf("%s.onSync[%d]", at, i)) {
				r.add(usage("config-value", where, "add run: COMMAND, restart: true or signal: NAME", "a rule of onSync does nothing"))
			}
		}
		if _, err := onSyncMatcher(o.Paths); err != nil {
			r.add(usage("config-value", r.where("%s.onSync[%d].paths", at, i), `write it as "*.py" or "src/**"`, "a pattern of onSync cannot be read: %v", err))
		}
		out = append(out, o)
	}
	return out
}

func (r *resolver) ports(at string, list []portFile) []Port {
	var out []Port
	for i, text := range list {
		p, ok := ParsePort(string(text))
		if !ok {
			continue // the decoder has said so
		}
		p.Where = r.where("%s.ports[%d]", at, i).String()
		out = append(out, p)
	}
	return out
}

// clashes refuses one local port for two services: which of them answers
// would be chance.
func (r *resolver) clashes() {
	type listener struct {
		host string
		port int
	}
	taken := map[listener]string{}
	local := map[int]string{} // what a program on this machine cannot listen on
	for _, s := range r.p.Services {
		for i, p := range s.Ports {
			l := listener{p.Host, p.Local}
			if by, ok := taken[l]; ok {
				r.add(usage("config-value", r.where("services.%s.ports[%d]", s.Name, i), "give one of them another local port: LOCAL:REMOTE",
					"port %d of this machine is also that of %s", p.Local, by))
			}
			taken[l] = s.Name
			if ip := net.ParseIP(p.Host); p.Host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
				local[p.Local] = s.Name
			}
		}
	}
	for _, s := range r.p.Services {
		if s.StandIn == nil || s.StandIn.Port == 0 {
			continue
		}
		if by, ok := local[s.StandIn.Port]; ok {
			r.add(usage("config-value", r.where("services.%s.local.port", s.Name), "give one of them another local port: LOCAL:REMOTE",
				"port %d of this machine, where the program that stands in listens, is also that of %s", s.StandIn.Port, by))
		}
		local[s.StandIn.Port] = s.Name
	}
}
