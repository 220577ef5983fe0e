package build

import (
	"context"
	"io/fs"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/kdev-io/kdev/build/engine"
)

// A Spec says what one image is made from. Paths are absolute. It is a
// Dockerfile, unless one of Go, Command and Image is set.
type Spec struct {
	Project, Service string
	Root             string // the project's folder; problems name files relative to it
	Context          string
	Dockerfile       string
	Target           string
	Args             map[string]string
	Go               *Go
	Command          *Command
	Options          engine.Options
	Places           map[string]string // lines of kdev.yaml that problems name, by key: "base", "image", "output"
	Image            string            // of others, as it is: nothing to build
	Platform         string            // "linux/amd64", that of the nodes; empty: this machine's architecture
	Dev              bool              // with the agent in the bottom layer; only for up, sync, run and --debug
	// Siblings are all images of the project, this one too. Where a base of this
	// one is theirs, it is made first and goes into it.
	Siblings []Sibling

	made  map[string]madeBase // the parents' images, by base
	above []Input             // that stand for the parents, from before these were made

	triggers func(image, platform string) []string // ONBUILD of images of others; nil: not known
}

// A Builder makes the image of a Spec. It is safe for concurrent use;
// cancelling the context ends the work.
type Builder interface {
	Build(ctx context.Context, spec Spec, progress Progress) (*Result, error)
}

// Progress hears of each step; calls come one at a time. nil is allowed.
type Progress func(Event)

// An Event is a step that began or ended, a raw line of its output, or a warning.
type Event struct {
	Service string
	Step    string
	Done    bool
	Cached  bool
	Bytes   int64 // of the layer that a step made, or of what it pushed; 0: none, or unknown
	Took    time.Duration
	Line    string
	Warning string // what the user may want to change; no step
}

// A Result is an image that the cluster can pull.
type Result struct {
	Ref    string // for a pod spec: localhost:5001/shop/web:<short>@sha256:…
	Digest string
	Cached bool // nothing was built
	Rung   string
	Why    string // one line: why this rung of the ladder and not a cheaper one
	Took   time.Duration
	Record *Record
}

// An Output is a file that a build on this machine made, and its place in the
// image.
type Output struct {
	// Local is the file, absolute. It holds what the newest build of the
	// service made: Digest tells whether that is this one.
	Local  string      `json:"local"`
	Path   string      `json:"path"` // in the image, absolute
	Mode   fs.FileMode `json:"mode"`
	Size   int64       `json:"size,omitempty"`
	Digest string      `json:"digest,omitempty"` // SHA-256 in hex
	Link   string      `json:"link,omitempty"`   // target of a symbolic link
}

// A Record is what an image was made from. It is saved beside the image, so
// that a later process knows how the files of a running pod differ from the
// local ones.
type Record struct {
	Service string  `json:"service"`
	Digest  string  `json:"digest"`
	Options string  `json:"options"` // OptionsHash
	Inputs  []Input `json:"inputs"`  // sorted by path
	Config  Config  `json:"config"`  // of the production image
	// Outputs are what go and command put into the image, sorted by path: what
	// a newer build can replace in a running container.
	Outputs []Output `json:"outputs,omitempty"`
	// Bases are the images of others that it was made from, and the images of the project
	// above it, each with what the engine called it then: see [Moved].
	Bases map[string]string `json:"bases,omitempty"`
}

// An Input is a file, folder or symbolic link that the build read.
type Input struct {
	Path   string      `json:"path"` // relative to the context, with slashes; a Go program's may begin with ../
	Mode   fs.FileMode `json:"mode"`
	Size   int64       `json:"size,omitempty"`
	Digest string      `json:"digest,omitempty"` // SHA-256 in hex; of a file that changed during the build empty: unknown
	Link   string      `json:"link,omitempty"`   // target of a symbolic link
}

// Config is how the production image starts its process.
type Config struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	StopSignal string   `json:"stopSignal,omitempty"`
}

// PlatformName is the platform of the Spec, this machine's where it says none.
func (s Spec) PlatformName() string { return s.platform() }

// platform is the spec's, or the local one.
func (s Spec) platform() string {
	if s.Platform == "" {
		return "linux/" + runtime.GOARCH
	}
	return s.Platform
}

func (s Spec) arch() string {
	arch, _, _ := strings.Cut(strings.TrimPrefix(s.platform(), "linux/"), "/")
	return arch
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// Repository is the image's name in the store: project/service, each in the
// alphabet that a registry allows.
func (s Spec) Repository() string {
	clean := func(name string) string {
		name = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "-"), "-")
		if name == "" {
			return "x"
		}
		return name
	}
	return clean(s.Project) + "/" + clean(s.Service)
}

func (p Progress) send(spec Spec, e Event) {
	if p != nil {
		e.Service = spec.Service
		p(e)
	}
}
