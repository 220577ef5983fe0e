package session

import (
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// State is what a face shows: an immutable snapshot of one `kdev up`.
type State struct {
	Project   string    `json:"project"`
	Namespace string    `json:"namespace"`
	Context   string    `json:"context"`
	Started   time.Time `json:"started"`
	// Ready is true when every service is ready and nothing is in flight.
	Ready    bool      `json:"ready"`
	Deployed bool      `json:"-"` // something of the project is in the cluster
	Services []Service `json:"services"`
	// Problem is a failure that belongs to no service: manifests that do not
	// render, an object that the API server refuses.
	Problem *problem.Problem `json:"-"`
}

// Phase is the one word that says how a service is.
type Phase string

const (
	Pending     Phase = "pending"     // nothing has happened yet; Waiting says for what
	Building    Phase = "building"    // an image is being made
	Deploying   Phase = "deploying"   // its objects are being applied
	Progressing Phase = "progressing" // the cluster is rolling it out
	Syncing     Phase = "syncing"     // ready but for files on their way
	Ready       Phase = "ready"
	FailedPhase Phase = "failed"
)

// Service is one unit of the project: something that is built, or a workload
// of the manifests that is not.
type Service struct {
	Name    string           `json:"name"`
	Phase   Phase            `json:"state"`
	Waiting string           `json:"waiting,omitempty"` // why it is not ready, in words
	Image   string           `json:"image,omitempty"`   // reference that runs or will run
	Pods    []Pod            `json:"pods"`
	Ports   []Port           `json:"ports,omitempty"`
	Sync    []Sync           `json:"sync,omitempty"`
	Desired int              `json:"desired"` // replicas wanted
	Updated int              `json:"updated"` // replicas of the newest pod template
	Current int              `json:"current"` // of those, ready
	Took    time.Duration    `json:"-"`       // last change until it was visible in every container
	Ahead   []string         `json:"-"`       // paths of the build context that are newer in the containers than in the image
	Problem *problem.Problem `json:"-"`
	// Stuck says that Problem stays until something is edited: its build failed.
	Stuck bool `json:"-"`
}

// Pod is one pod of a service.
type Pod struct {
	Name     string    `json:"name"`
	Node     string    `json:"node,omitempty"`
	IP       string    `json:"ip,omitempty"`
	Ready    bool      `json:"ready"`
	Deployed bool      `json:"-"`      // something of the project is in the cluster
	Status   string    `json:"status"` // the word that kubectl would show
	Restarts int       `json:"restarts"`
	Created  time.Time `json:"created"`
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
	Pod        string        `json:"pod"`
	Container  string        `json:"container"`
	Generation uint64        `json:"generation"` // acknowledged
	Connected  bool          `json:"connected"`
	Lag        time.Duration `json:"-"` // of the last batch: from its start to its acknowledgement

	files   int  // acknowledged since the last notice
	started bool // the first start of its process was seen
	reached bool // it has acknowledged a generation, or none is to come
}

// Level says how much a notice matters.
type Level int

const (
	Info Level = iota // something began or is being explained
	Done              // something ended well
	Warn              // something needs attention, the session goes on
	Fail              // something failed; Problem says what
)

// Notice is one thing that happened, for the faces that show a stream.
type Notice struct {
	Time    time.Time
	Level   Level
	Service string // empty: the session as a whole
	Code    string // stable name of what happened: "build-done", "synced", …
	Text    string
	Took    time.Duration // of the unit that ended; zero when none did
	Problem *problem.Problem
}
