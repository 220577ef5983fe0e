package session

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// State is what a face shows: an immutable snapshot of one `kdev up`. Its JSON
// form is that of `kdev status`, whether a session answers or the cluster does,
// and what travels over the control socket: a face at the other end of it reads
// it back into a State.
type State struct {
	Project   string    `json:"project"`
	Namespace string    `json:"namespace"`
	Context   string    `json:"context"`
	Root      string    `json:"root,omitempty"`    // folder of the project on this machine
	Started   time.Time `json:"started,omitzero"`  // of the session; zero when none runs
	Session   bool      `json:"session"`           // a session keeps this true; else the cluster was asked once
	Ready     bool      `json:"ready"`             // every service is ready and nothing is in flight
	Deployed  bool      `json:"deployed"`          // something of the project is in the cluster
	URL       string    `json:"url,omitempty"`     // where a browser finds the project as a whole, as far as that can be said
	Services  []Service `json:"services"`          // in the order of kdev.yaml, then of the manifests, then local ones
	Objects   []Object  `json:"objects,omitempty"` // that run no pods and have a state: claims, Services, rules, custom kinds
	Tasks     []Task    `json:"tasks,omitempty"`   // that kdev.yaml has
	// Problems belong to no service: a kdev.yaml with a mistake, manifests that do
	// not render, an object that the API server refuses.
	Problems []*problem.Problem `json:"problems,omitempty"`
}

// Troubles are all problems that belong to no service: those of the project, and those
// that keep an object without pods from being ready.
func (st *State) Troubles() []*problem.Problem {
	all := slices.Clone(st.Problems)
	for i := range st.Objects {
		if o := &st.Objects[i]; o.Problem != nil && !o.Ready && !o.Ignored {
			all = append(all, o.Problem)
		}
	}
	return all
}

// Service finds a service by its name.
func (st *State) Service(name string) (*Service, bool) {
	for i := range st.Services {
		if st.Services[i].Name == name {
			return &st.Services[i], true
		}
	}
	return nil, false
}

// NamespaceOf is the namespace of a service's pods.
func (st *State) NamespaceOf(service string) string {
	if s, ok := st.Service(service); ok && s.Namespace != "" {
		return s.Namespace
	}
	return st.Namespace
}

// Namespaces are those in which the project, and what it includes, has services: its own
// first.
func (st *State) Namespaces() []string {
	all := []string{st.Namespace}
	for i := range st.Services {
		if ns := st.Services[i].Namespace; ns != "" && !slices.Contains(all, ns) {
			all = append(all, ns)
		}
	}
	return all
}

// ServiceOf names the service that a pod belongs to, "" when it is none of the
// project's. Pods of two projects may have the same name, not those of a namespace; ""
// is any namespace.
func (st *State) ServiceOf(namespace, pod string) string {
	for i := range st.Services {
		svc := &st.Services[i]
		if namespace != "" && namespace != cmp.Or(svc.Namespace, st.Namespace) {
			continue
		}
		for j := range svc.Pods {
			if svc.Pods[j].Name == pod {
				return svc.Name
			}
		}
	}
	return ""
}

// Names are those of the services.
func (st *State) Names() []string {
	names := make([]string, len(st.Services))
	for i := range st.Services {
		names[i] = st.Services[i].Name
	}
	return names
}

// Phase is the one word that says how a service is.
type Phase string

const (
	Pending     Phase = "pending"     // nothing has happened yet; Waiting says for what
	Building    Phase = "building"    // an image is being made
	Deploying   Phase = "deploying"   // its objects are being applied
	Progressing Phase = "progressing" // the cluster is rolling it out, or its process is starting
	Syncing     Phase = "syncing"     // ready but for files on their way
	Ready       Phase = "ready"
	FailedPhase Phase = "failed"
	Paused      Phase = "paused"   // ready, and nothing is done with what is saved
	Sleeping    Phase = "sleeping" // scaled to nothing on purpose
	Stopped     Phase = "stopped"  // `start: manual`, and nobody has started it
)

// A Kind says what a service is made of.
type Kind string

const (
	Built    Kind = "built"    // kdev makes its image
	Workload Kind = "workload" // of the manifests, with an image of others
	Process  Kind = "process"  // runs on this machine
)

// Service is one unit of the project: something that is built, a workload of
// the manifests that is not, or a process on this machine.
type Service struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	Project string `json:"project,omitempty"` // of an included project: its name
	// Namespace is that of an included project; empty: the State's own.
	Namespace string `json:"namespace,omitempty"`
	Phase     Phase  `json:"state"`
	// Waiting is why it is not ready and not failed; nil when there is nothing to
	// wait for.
	Waiting *Waiting `json:"waiting,omitempty"`

	Image     string     `json:"image,omitempty"`     // reference that runs or will run
	Workloads []Rollout  `json:"workloads,omitempty"` // their rollouts, one by one
	Pods      []Pod      `json:"pods"`                // of all workloads, old ones too
	Desired   int        `json:"desired"`             // replicas wanted, of all workloads
	Updated   int        `json:"updated"`             // of the newest pod template
	Current   int        `json:"current"`             // of those, ready
	Old       int        `json:"old,omitempty"`       // ready pods of an older template, which still serve
	Restarts  int        `json:"restarts"`            // of all containers of all pods
	Ports     []Port     `json:"ports,omitempty"`
	URLs      []string   `json:"urls,omitempty"` // where a browser finds it, the best one first
	Sync      []Sync     `json:"sync,omitempty"`
	Build     *Build     `json:"build,omitempty"`  // the one under way, else the last; nil before the first
	Change    *Change    `json:"change,omitempty"` // the newest, under way or done
	History   []Change   `json:"history,omitempty"`
	Local     *LocalWork `json:"local,omitempty"` // its process on this machine

	Manual bool `json:"manual,omitempty"` // `trigger: manual`: what is saved waits for `kdev trigger`
	Paused bool `json:"paused,omitempty"`
	// Ignored is `ready: ignore`: the project is ready without it.
	Ignored bool     `json:"ignored,omitempty"`
	Held    []string `json:"held,omitempty"`   // paths that were saved while it was paused or manual
	Scaled  *int     `json:"scaled,omitempty"` // replicas that somebody chose by hand in this session
	Ahead   []string `json:"ahead,omitempty"`  // paths of the build context that are newer in the containers than in the image

	Events  []ClusterEvent   `json:"events,omitempty"` // of its workloads and pods, the newest last
	Problem *problem.Problem `json:"problem,omitempty"`
	// Explanation is the rollout's status in some lines for a person, with what
	// led to Problem; empty when everything is ready.
	Explanation string `json:"explanation,omitempty"`
	// Stuck says that Problem stays until something is edited: its build failed.
	Stuck bool `json:"stuck,omitempty"`
}

// Digest is the digest of the service's image without its algorithm, "" when
// the reference has none.
func (s *Service) Digest() string {
	_, digest, _ := strings.Cut(s.Image, "@sha256:")
	return digest
}

// Took is how long the newest change that is done took until it was visible in
// every container; zero when there was none.
func (s *Service) Took() time.Duration {
	if s.Change != nil && s.Change.Outcome == Served {
		return s.Change.Took()
	}
	for i := len(s.History) - 1; i >= 0; i-- {
		if s.History[i].Outcome == Served {
			return s.History[i].Took()
		}
	}
	return 0
}

// A Reason says what kind of thing a service waits for. "Why is this waiting"
// has one of these answers, always.
type Reason string

const (
	ForImage     Reason = "image"     // whether what runs can go on running is being found out
	ForBuild     Reason = "build"     // its image is being built, or its turn to be built is to come
	ForNeeds     Reason = "needs"     // another service, which it needs for its first start
	ForManifests Reason = "manifests" // they do not render or are refused; State.Problems says why
	ForApply     Reason = "apply"     // its objects are being written
	ForRollout   Reason = "rollout"   // the cluster
	ForAgent     Reason = "agent"     // the agent in a container has not answered yet
	ForFiles     Reason = "files"     // files are on their way
	ForTrigger   Reason = "trigger"   // `trigger: manual`, or paused: for a person
	ForStart     Reason = "start"     // `start: manual`: for a person
	ForGenerator Reason = "generator" // a generator that runs before it
	ForProcess   Reason = "process"   // its process on this machine is not ready yet
)

// Waiting is what a service waits for.
type Waiting struct {
	Reason Reason   `json:"reason"`
	On     []string `json:"on,omitempty"` // the services, generators, pods or paths meant
	Text   string   `json:"text"`         // completes "waits for …"
}

func (w *Waiting) String() string {
	if w == nil {
		return ""
	}
	return w.Text
}

// Rollout is how far one workload is.
type Rollout struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Namespace is where it is, if in another than the project's.
	Namespace string `json:"namespace,omitempty"`
	// Unwatched is why nobody can say whether it is ready; then it counts as ready.
	Unwatched string           `json:"unwatched,omitempty"`
	Ready     bool             `json:"ready"`
	Desired   int              `json:"desired"`
	Updated   int              `json:"updated"`
	Current   int              `json:"current"`
	Old       int              `json:"old,omitempty"`
	Template  string           `json:"template,omitempty"` // hash of the newest pod template
	Since     time.Time        `json:"since,omitzero"`     // when the newest template's first pod was made
	Waiting   string           `json:"waiting,omitempty"`
	Problem   *problem.Problem `json:"problem,omitempty"`
}

// Object is how an object fares that runs no pods by itself.
type Object struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Project string `json:"project,omitempty"` // of an included project: its name
	Ready   bool   `json:"ready"`
	Ignored bool   `json:"ignored,omitempty"` // by `ready: ignore`
	Waiting string `json:"waiting,omitempty"` // completes "waits for …"
	Note    string `json:"note,omitempty"`    // worth knowing although it counts as ready
	// Problem is why it does not get ready; of one that counts as ready, what looks
	// wrong all the same.
	Problem *problem.Problem `json:"problem,omitempty"`
}

func (o *Object) String() string {
	if o.Project != "" {
		return o.Kind + "/" + o.Name + " of " + o.Project
	}
	return o.Kind + "/" + o.Name
}

// Port is one forwarded port.
type Port struct {
	Host   string `json:"host"`
	Local  int    `json:"local"`
	Remote int    `json:"remote"`
	URL    string `json:"url"`
}

// Sync is how current one container is.
type Sync struct {
	Pod        string           `json:"pod"`
	Container  string           `json:"container"`
	Connected  bool             `json:"connected"`
	Generation uint64           `json:"generation"`        // acknowledged
	Wanted     uint64           `json:"wanted"`            // that it should have
	Lag        Millis           `json:"lag"`               // of the last batch: from its first byte to its acknowledgement
	At         time.Time        `json:"at,omitzero"`       // when that was acknowledged
	Files      int              `json:"files"`             // of the last batch: written and removed
	Bytes      int64            `json:"bytes"`             // of the last batch, on the wire
	AllFiles   int              `json:"allFiles"`          // since the session began
	AllBytes   int64            `json:"allBytes"`          // since the session began
	Paths      []string         `json:"paths,omitempty"`   // of the last batch, the first of them
	Held       bool             `json:"held,omitempty"`    // its process failed after a restart and is kept for the next change
	Problem    *problem.Problem `json:"problem,omitempty"` // why it is behind

	files   int  // acknowledged since the last notice
	started bool // the first start of its process was seen
	reached bool // it has acknowledged a generation, or none is to come
	// startedWith is the newest generation after which its process was started.
	startedWith uint64
	startedAt   time.Time // when that was told
	alone       bool      // no agent runs its process
}

// BuildPhase says how a build is.
type BuildPhase string

const (
	BuildRunning   BuildPhase = "running"
	BuildDone      BuildPhase = "done"
	BuildFailed    BuildPhase = "failed"
	BuildCancelled BuildPhase = "cancelled" // superseded by a newer change, or by a person
)

// Build is one build of a service's image.
type Build struct {
	Number  int        `json:"number"` // counts from 1 in a session
	Phase   BuildPhase `json:"phase"`
	Why     string     `json:"why"` // what asked for it
	Step    string     `json:"step,omitempty"`
	Started time.Time  `json:"started"`
	Took    Millis     `json:"tookMs,omitempty"`  // zero while it runs
	Cached  bool       `json:"cached,omitempty"`  // the store held the image already
	Rung    string     `json:"rung,omitempty"`    // how it was made, and why no cheaper way would do
	Steps   []Step     `json:"steps,omitempty"`   // that have ended, the last of them
	Earlier int        `json:"earlier,omitempty"` // steps before those
	Lines   []string   `json:"lines,omitempty"`   // the last of its output
}

// LocalWork is a process on this machine, or a command that runs when files change.
// A service of the cluster has it where a process here stands in for its own program.
type LocalWork struct {
	Role     LocalRole `json:"role"`
	Command  string    `json:"command"`
	Runs     int       `json:"runs"`          // so far
	PID      int       `json:"pid,omitempty"` // zero while it does not run
	Since    time.Time `json:"since,omitzero"`
	Restarts int       `json:"restarts"`
	Exit     *int      `json:"exit,omitempty"`  // code of its last end
	Lines    []string  `json:"lines,omitempty"` // the last of its output
}

// A LocalRole is the key by which kdev.yaml has local work.
type LocalRole string

const (
	Generator LocalRole = "run"   // runs to its end, again when files change
	Server    LocalRole = "serve" // goes on
	InPlace   LocalRole = "local" // goes on, in the place of a service's own program
)

// Millis is a duration that JSON says in milliseconds.
type Millis time.Duration

// MarshalJSON writes milliseconds, with three digits at most after the point.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(m).Microseconds()) / 1000)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	*m = Millis(ms * float64(time.Millisecond))
	return nil
}
