package config

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Apps is what kdev.yaml describes of one environment without manifests.
type Apps struct {
	Project  string
	Services []App    // by name
	Stores   []Store  // by name
	Secrets  []Secret // by name
}

// An App is a service without manifests.
type App struct {
	Name, Image string
	Port        int // 0: it has no Service
	Replicas    int
	Command     []string
	Env         map[string]string
	Secrets     []string
	Host        string // "": it has no Ingress
	Health      string // path; "": a connection to the port
	User        int    // 0: the image's
	CPU, Memory string
	Needs       []AppNeed
	Where       string
}

// An AppNeed is a variable with the URL of a store.
type AppNeed struct{ Env, Kind, Store string }

// A Store is something that kdev makes for services that need it.
type Store struct{ Kind, Name, Image, Storage, Where string }

// A Secret is one that manifests reference and do not hold. Where all of its
// sources are empty and it is not External, the environment has to have it.
type Secret struct {
	Name     string
	EnvFile  string // relative to the root, slashes
	Keys     []string
	Files    map[string]string // key → path
	Command  []string
	Generate []string
	Type     string
	External bool
	Where    string
}

func needNames(list []needFile) []string {
	var names []string
	for _, n := range list {
		name := n.Name
		if n.Store != nil && n.Store.Name != "" {
			name = n.Store.Name
		}
		names = append(names, name)
	}
	return names
}

func (r *resolver) hasApps() bool {
	for _, s := range r.f.Services {
		if s.App.Given || slices.ContainsFunc(s.Needs, func(n needFile) bool { return n.Store != nil }) {
			return true
		}
	}
	return false
}

// apps adds to each environment what kdev.yaml itself describes.
func (r *resolver) apps() {
	if !r.hasApps() && len(r.f.Secrets) == 0 {
		return
	}
	for name, s := range r.f.Services {
		if service, ok := r.p.Service(name); ok && s.App.Given {
			r.checkApp(join(join("services", name), "app"), s.App, service)
		}
	}
	r.checkSecrets()
	for _, name := range r.appEnvironments() {
		if !slices.ContainsFunc(r.p.Environments, func(e Environment) bool { return e.Name == name }) {
			r.p.Environments = append(r.p.Environments, Environment{Name: name, Namespace: r.p.Name, Where: r.where("services").String()})
		}
	}
	slices.SortStableFunc(r.p.Environments, func(a, b Environment) int { return strings.Compare(a.Name, b.Name) })
	add := func(to []Source, environment string) []Source {
		a := r.appsIn(environment)
		if len(a.Services) == 0 && len(a.Stores) == 0 && len(a.Secrets) == 0 {
			return to
		}
		return append(to, Source{Apps: a, Where: r.where("services").String()})
	}
	r.p.Manifests = add(r.p.Manifests, Dev)
	for i := range r.p.Environments {
		e := &r.p.Environments[i]
		e.Manifests = add(e.Manifests, e.Name)
	}
}

// appEnvironments are the environments that only an app or a Secret names.
func (r *resolver) appEnvironments() []string {
	names := map[string]bool{}
	for _, s := range r.f.Services {
		for name := range s.App.Environments {
			names[name] = true
		}
	}
	for _, s := range r.f.Secrets {
		for name := range s.Environments {
			names[name] = true
		}
	}
	delete(names, Dev)
	return slices.Sorted(maps.Keys(names))
}

func (r *resolver) checkApp(at string, f appFile, s *Service) {
	if s.Build == nil {
		r.add(usage("config-value", r.where("%s", at), "add a folder "+s.Name+" with a Dockerfile, or build: {image: NAME:TAG}", "service %s has nothing to run", s.Name))
	}
	below := map[string]appValuesFile{at: {Port: f.Port, Host: f.Host, Health: f.Health}}
	for name, e := range f.Environments {
		if e.Port == 0 {
			e.Port = f.Port
		}
		below[at+".environments."+name] = e
	}
	for _, at := range slices.Sorted(maps.Keys(below)) {
		f := below[at]
		for _, v := range []struct{ key, value string }{{"health", f.Health}, {"host", f.Host}} {
			if v.value != "" && f.Port == 0 {
				r.add(usage("config-value", r.where("%s.%s", at, v.key), "add port: NUMBER", "service %s has %s and no port", s.Name, v.key))
			}
		}
	}
}

func (r *resolver) checkSecrets() {
	for _, name := range slices.Sorted(maps.Keys(r.f.Secrets)) {
		f, at := r.f.Secrets[name], join("secrets", name)
		if f.FromEnvFile == "" && len(f.Files) == 0 && len(f.Command) == 0 && len(f.Generate) == 0 && !f.External && len(f.Environments) == 0 && !r.troubled(at) {
			r.add(usage("config-value", r.where("%s", at), "add fromEnvFile: FILE, files: {KEY: FILE}, command: …, generate: [KEY] or external: true", "Secret %s has no values", name))
		}
		r.checkSecret(at, f.Files, f.Command, f.Keys)
		for e, v := range f.Environments {
			r.checkSecret(at+".environments."+e, v.Files, v.Command, v.Keys)
		}
	}
}

func (r *resolver) checkSecret(at string, files map[string]string, command, keys []string) {
	for key, file := range files {
		if !inside(file) {
			r.add(usage("config-path", r.where("%s.files.%s", at, key), "keep the file below "+FileName, "%s is outside the project", file))
		}
	}
	if len(command) > 0 && len(keys) == 0 && !r.troubled(at) {
		r.add(usage("config-value", r.where("%s.command", at), "add keys: [NAME], so that they are known before it runs", "%s has a command and no keys", at))
	}
}

// appsIn is what kdev.yaml describes of one environment.
func (r *resolver) appsIn(environment string) *Apps {
	a := &Apps{Project: r.p.Name}
	stores := storeSet{map[string]Store{}, map[string]bool{}}
	for _, s := range r.p.Services {
		f := r.f.Services[s.Name]
		needs := r.stores(environment, s.Name, f, &stores)
		if f.App.Given {
			a.Services = append(a.Services, r.app(environment, &s, f.App, needs))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(stores.all)) {
		a.Stores = append(a.Stores, stores.all[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.f.Secrets)) {
		f := r.f.Secrets[name]
		s := Secret{Name: name, Type: f.Type, Where: r.where("secrets.%s", name).String()}
		if len(f.Only) == 0 || slices.Contains(f.Only, environment) {
			s.Generate, s.External = f.Generate, f.External
		}
		v, other := f.Environments[environment]
		if environment == Dev && !other {
			v, other = secretValuesFile{f.FromEnvFile, f.Keys, f.Files, f.Command}, true
		}
		if other {
			s.Keys, s.Command = v.Keys, v.Command
			if v.FromEnvFile != "" {
				s.EnvFile = path.Clean(v.FromEnvFile)
			}
			s.Files = maps.Clone(v.Files)
			// Who says from what it is made here says that nobody else makes it.
			s.External = s.External && s.EnvFile == "" && len(s.Files) == 0 && len(s.Command) == 0
		}
		if s.External || s.EnvFile != "" || len(s.Files) > 0 || len(s.Command) > 0 || len(s.Generate) > 0 {
			a.Secrets = append(a.Secrets, s)
		}
	}
	return a
}

// app is a service in one environment.
func (r *resolver) app(environment string, s *Service, f appFile, needs []AppNeed) App {
	a := App{
		Name: s.Name, Image: s.Image, Port: f.Port, Replicas: max(f.Replicas, 1), Command: f.Command, Env: texts(f.Env), Secrets: f.Secrets,
		Host: f.Host, Health: f.Health, User: f.User, CPU: "100m", Memory: "256Mi", Needs: needs, Where: r.where("services.%s.app", s.Name).String(),
	}
	if a.Image == "" {
		a.Image = r.p.Name + "/" + s.Name
	}
	e := f.Environments[environment]
	set(&a.Port, e.Port)
	set(&a.Replicas, e.Replicas)
	set(&a.Host, e.Host)
	set(&a.Health, e.Health)
	set(&a.CPU, string(f.Resources.CPU), string(e.Resources.CPU))
	set(&a.Memory, string(f.Resources.Memory), string(e.Resources.Memory))
	if e.Command != nil {
		a.Command = e.Command
	}
	if e.Secrets != nil {
		a.Secrets = e.Secrets
	}
	if a.Env == nil {
		a.Env = map[string]string{}
	}
	maps.Copy(a.Env, texts(e.Env))
	return a
}

// set takes the last of values that says something.
func set[T comparable](to *T, values ...T) {
	var none T
	for _, v := range values {
		if v != none {
			*to = v
		}
	}
}

// A storeSet is what the services of one environment need.
type storeSet struct {
	all map[string]Store
	set map[string]bool // by name: its settings are written, not the defaults
}

// add is false where another service describes a store of that name otherwise.
func (t *storeSet) add(s Store, settings bool) bool {
	was, ok := t.all[s.Name]
	was.Where = s.Where
	if ok && was != s && (settings == t.set[s.Name] || was.Kind != s.Kind) {
		return false
	}
	if !ok || settings && !t.set[s.Name] {
		t.all[s.Name], t.set[s.Name] = s, settings
	}
	return true
}

// stores collects what a service needs of what kdev makes. The name of a kind that
// is a service of the project is that service; and without app, whose manifests may
// well hold a redis of their own, only a mapping asks for one.
func (r *resolver) stores(environment, service string, f serviceFile, stores *storeSet) []AppNeed {
	var needs []AppNeed
	for i, n := range f.Needs {
		kind, known := storeKinds[n.Name]
		_, own := r.p.Service(n.Name)
		if !known || n.Store == nil && (own || !f.App.Given) {
			continue
		}
		o := n.Store
		if o == nil {
			o = &storeFile{}
		}
		at := fmt.Sprintf("services.%s.needs[%d]", service, i)
		where := r.where("%s", at)
		if len(o.Environments) > 0 && !slices.Contains(o.Environments, environment) {
			continue
		}
		s := Store{Kind: n.Name, Name: n.Name, Storage: kind.storage, Where: where.String()}
		set(&s.Name, o.Name)
		version := kind.version
		set(&version, string(o.Version))
		s.Image = kind.image + ":" + version
		set(&s.Image, o.Image)
		set(&s.Storage, string(o.Storage))
		if o.Image != "" && o.Version != "" {
			r.add(usage("config-value", where, "keep one of the two", "%s has image and version", at))
		}
		if _, ok := r.p.Service(s.Name); ok {
			r.add(usage("config-value", where, "give it another name: {"+n.Name+": {name: "+s.Name+"-db}}", "%s is a service already", s.Name))
		}
		if !stores.add(s, n.Store != nil) {
			r.add(usage("config-value", where, "give one of them another name, or write the settings once: elsewhere - "+n.Name+" is enough",
				"%s is described twice, first at %s", s.Name, stores.all[s.Name].Where))
		}
		if !f.App.Given {
			continue
		}
		env := kind.env
		set(&env, o.Env)
		if slices.ContainsFunc(needs, func(n AppNeed) bool { return n.Env == env }) {
			r.add(usage("config-value", where, "give one of them another variable: env: NAME", "two needs of %s are in %s", service, env))
		}
		needs = append(needs, AppNeed{Env: env, Kind: n.Name, Store: s.Name})
	}
	return needs
}

// SecretFiles are the files that the values of a Secret are in, relative to the root.
func (s *Secret) SecretFiles() []string {
	files := slices.Sorted(maps.Values(s.Files))
	if s.EnvFile != "" {
		files = append(files, s.EnvFile)
	}
	for i := range files {
		files[i] = filepath.ToSlash(path.Clean(files[i]))
	}
	return files
}

// ParseEnv reads lines NAME=value. A problem names the line, not what it holds.
func ParseEnv(name, content string) (map[string]string, error) {
	values, ps := parseDotenv(name, content)
	if len(ps) > 0 {
		return nil, ps
	}
	return values, nil
}
