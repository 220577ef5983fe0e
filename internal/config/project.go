package config

import (
	"path"
	"strings"
)

// A Project is a configuration with nothing left to decide.
type Project struct {
	Name          string
	Namespace     string
	NamespaceFrom string // what decided the namespace: "kdev.yaml:2", "deploy/overlays/dev/kustomization.yaml:3", "the project's name"
	Root          string // absolute
	File          string // kdev.yaml, absolute; empty when everything was detected
	// Files are the files whose change means that the configuration has to be
	// read again, absolute, whether they exist or not.
	Files        []string
	Services     []Service // by name
	Local        []Local   // in the order of kdev.yaml
	Manifests    []Source  // in the order in which they apply; empty only with ManifestsOptional
	Environments []Environment
	Watch        Watch
	Contexts     []string // contexts that are not local and yet allowed
	Cluster      Cluster
	Registry     string // for clusters that are not on this machine
	BuildKit     BuildKit
	Router       Router
	Tasks        []Task // by name
	// Include are other projects that kdev up brings up with this one.
	Include []Included
	// Unlisted are folders with a Dockerfile, relative to Root, that would be services,
	// by the names that they would have, if the file did not list others.
	Unlisted map[string]string
	// Detected has a line for each thing that no key said, for people.
	Detected []string
}

// An Included is another project. Those that it includes itself are in the list of
// the one that was asked for.
type Included struct {
	Project *Project
	Where   string // "kdev.yaml:3"
}

// Service finds a service by its name.
func (p *Project) Service(name string) (*Service, bool) {
	for i := range p.Services {
		if p.Services[i].Name == name {
			return &p.Services[i], true
		}
	}
	return nil, false
}

// A Service is one part of the application. One without a build runs the
// image that the manifests name.
type Service struct {
	Name   string
	Where  string // "kdev.yaml:7", or the Dockerfile that was detected
	Image  string // repository that the manifests name; empty: the one whose last path component is Name
	Build  *Build // nil: nothing to build
	Sync   Sync
	OnSync []OnSync
	Ports  []Port
	Needs  []string // services, or workloads of the manifests

	Manual      bool // `trigger: manual`: what is saved waits
	StartManual bool // `start: manual`: it is not started by itself
	IgnoreReady bool // `ready: ignore`: nothing waits for it

	StandIn *StandIn // what runs on this machine in its place; nil: nothing
}

// Triggers are the files that rules of onSync name, relative to the build context;
// not those that a pattern may mean. They count even where git ignores them.
func (s *Service) Triggers() []string {
	var files []string
	for _, rule := range s.OnSync {
		for _, p := range rule.Paths {
			if !strings.ContainsAny(p, "*?[!") {
				files = append(files, path.Clean(p))
			}
		}
	}
	return files
}

// A Build says what an image is made from: a Dockerfile, unless one of Go,
// Command and Image is set.
type Build struct {
	Context    string // absolute
	Dockerfile string // absolute; may lie outside Context, never outside the root
	Target     string
	Args       map[string]string
	Go         *GoBuild
	Command    *CommandBuild
	Image      string // of others, as it is
	Secrets    map[string]BuildSecret
	SSH        []string
	CacheFrom  []string
	CacheTo    []string
	Network    string            // "", "none", "host"
	ExtraHosts map[string]string // addresses by name
	Where      string            // line that a problem of the build's configuration names
	Places     map[string]string // lines of "base", "output", "image", "ssh" and "secrets.ID"
}

// A BuildSecret is what RUN --mount=type=secret gets: the content of a file, or
// a variable's value.
type BuildSecret struct {
	File string // absolute
	Env  string
}

// A GoBuild is a program that is compiled on this machine.
type GoBuild struct {
	Main  string // relative to the context, slashes; "." is the context
	Flags []string
	Env   map[string]string
	Base  string // empty: build's default
}

// A CommandBuild is a command that makes the image, or what goes into it: see
// build.Command.
type CommandBuild struct {
	Run        []string
	Inputs     []string
	Env        map[string]string
	Output     string // relative to the context, slashes
	To         string // absolute in the image, slashes
	Base       string
	Entrypoint []string
	Image      string
}

// Sync says which files go into running containers. Without rules and not off
// it is inferred from the Dockerfile.
type Sync struct {
	Off   bool
	Rules []SyncRule
}

// A SyncRule maps a file or folder of the context to a place in the container.
type SyncRule struct {
	From   string // relative to the context, slashes
	To     string // absolute in the container, slashes; one at its end: a single file keeps its name there
	Volume bool   // To is a folder, and a writable copy of it is mounted there
	Where  string
}

// An OnSync says what happens after a sync of files that match Paths: Run
// first, then Restart or Signal.
type OnSync struct {
	Paths   []string // see Matches; empty: every file
	Run     []string
	Restart bool
	Signal  string // without SIG
	Where   string

	Container bool // Restart means the whole container, not its process in place
}

// A Port is forwarded from Host:Local on this machine to Remote in the pods.
type Port struct {
	Host          string
	Local, Remote int
	Where         string
}

// A Source is one place that manifests come from. Paths are relative to the
// root, with slashes; just one of the five is set.
type Source struct {
	Kustomize string   // folder with a kustomization
	YAML      []string // files and patterns, and addresses with their hash
	Helm      *Helm
	Command   *Command
	Apps      *Apps    // what kdev.yaml itself describes
	Where     string   // "kdev.yaml:9", or the path that was detected
	Missing   Problems // what it names and is not there: it does not render
}

// Helm is a chart with its values.
type Helm struct {
	Chart   string // folder or package, or oci://… or https://…
	Version string
	Release string
	Values  []string       // files
	Set     map[string]any // path → string, bool, int64, float64 or nil
}

// A Command prints manifests. It runs in the root.
type Command struct {
	Run    []string
	Inputs []string // patterns
	Env    map[string]string
}

// An Environment is another way to deploy the project.
type Environment struct {
	Name      string
	Manifests []Source
	Context   string // empty: that of kdev up
	Namespace string // with its default
	Where     string
	Up        bool // it is the one that kdev up brings up
}

// Watch says which files count.
type Watch struct {
	Ignore []string // .gitignore syntax, relative to the root
}

// Cluster is what kdev creates when there is no local cluster.
type Cluster struct {
	Provider string // kind
	Nodes    int
	Version  string // v1.36 or v1.36.3; empty: kdev's default
}

// BuildKit is what runs the steps of Dockerfiles; without an address the engine.
type BuildKit struct {
	Address string // as buildctl takes it, or ClusterBuildKit
	// For tcp://; absolute.
	CA, Cert, Key string
	ServerName    string

	// For the one in the cluster.
	Image    string
	Rootless bool
	Config   string // buildkitd.toml, absolute
}

// ClusterBuildKit is the address of the BuildKit that kdev starts in the cluster.
const ClusterBuildKit = "cluster"

// Router is where services are found by name while kdev up runs.
type Router struct {
	Off  bool
	Port int // wanted; the next free one when it is in use
}
