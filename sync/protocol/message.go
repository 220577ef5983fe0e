package protocol

// Version is spoken by both sides or not at all: kdev puts its own agent into
// every image that it builds, so an old agent is told apart and named.
const Version = 4

// A Kind tells messages apart.
type Kind byte

const (
	kindHello Kind = 1 + iota
	kindWelcome
	kindState
	kindBegin
	kindPut
	kindData
	kindPutEnd
	kindRemove
	kindMkdir
	kindLink
	kindChmod
	kindEnd
	kindAck
	kindAsk
	kindAnswer
	kindNotice
	kindPing
	kindPong
	kindRefuse
	kindCommand
	kindFetch
	kindFetched
	kindRepair
	kindRepaired
)

// KindData is the kind of Data, for a reader that does not want a copy.
const KindData = kindData

// A Message is one of the types below, as a pointer.
type Message interface {
	Kind() Kind
	encode(*encoder)
	decode(*decoder)
}

// A Type is what a path holds.
type Type byte

const (
	Absent Type = iota
	Regular
	Directory
	Symlink
	Other   // a socket, a device
	Unknown // not looked at
)

// A File is what a path holds, as far as it matters here.
type File struct {
	Type   Type
	Perm   uint32   // permission bits with setuid, setgid and sticky, as in st_mode&07777
	Size   int64    // of a regular file
	Digest [32]byte // SHA-256 of a regular file's content
	Link   string
}

func (f *File) encode(e *encoder) {
	e.byte(byte(f.Type))
	switch f.Type {
	case Regular:
		e.uint(uint64(f.Perm))
		e.int(f.Size)
		e.hash(&f.Digest)
	case Directory:
		e.uint(uint64(f.Perm))
	case Symlink:
		e.string(f.Link)
	}
}

func (f *File) decode(d *decoder) {
	f.Type = Type(d.byte())
	switch f.Type {
	case Regular:
		f.Perm = uint32(d.uint()) & 0o7777
		f.Size = d.int()
		f.Digest = d.hash()
	case Directory:
		f.Perm = uint32(d.uint()) & 0o7777
	case Symlink:
		f.Link = d.string()
	case Absent, Other, Unknown:
	default:
		d.fail()
	}
}

// Hello begins a connection. Client stays the same for one kdev process, so that
// its own new connection replaces a dead one; Boot and Version are what it
// remembers of this container, and spare it the State when both still hold. One
// that only observes may ask and fetch beside the connection that syncs. Its form is the
// same in every version of the protocol: an agent can say then that it speaks another one.
type Hello struct {
	Protocol uint64
	Client   [16]byte
	Boot     [16]byte
	Version  uint64
	Observe  bool
}

// Welcome is the agent's answer. State messages follow when Boot or Version
// differ from what Hello said.
type Welcome struct {
	Protocol uint64
	Agent    string   // its version
	Boot     [16]byte // new for each life of the container's root
	Version  uint64   // of the state
	Same     bool     // no State follows
	Run      bool     // an agent that runs the application, and can restart it in place
	Restarts bool     // a restart is possible: in place, or by the container's end
	Unsynced bool     // the application was started before anybody came
	UID, GID uint32
	Mounts   []Mount // mount points but the root, sorted by path
	Process  Process
	Synced   bool // somebody is connected who syncs
	Last     Last
}

// Last is about the batches since Boot.
type Last struct {
	Generation uint64 // of the last one that was carried out
	Took       int64  // nanoseconds, from its first message to its answer
	Bytes      int64  // of all of them, as they came
	Failed     string // why the last one was not carried out whole; empty when it was
}

// A Mount is a mount point of the container.
type Mount struct {
	Path     string
	ReadOnly bool
	FSType   string
	Identity string // equal for the same volume on the same node
}

// A Phase is what the application is doing.
type Phase byte

const (
	PhaseNone Phase = iota // this agent runs no application
	PhaseGate              // waiting for the first batch
	PhaseRunning
	PhaseHeld  // it failed after a restart that a sync caused; a new batch starts it again
	PhaseAside // a program on another machine stands in for it
)

// A Process is the state of the application.
type Process struct {
	Phase    Phase
	Starts   uint64 // so far
	ExitCode int64  // of the last end, as a container's exit code
}

// State carries what was acknowledged since Boot, in parts.
type State struct {
	Entries []Entry
	Last    bool
}

// An Entry is a path with what it holds.
type Entry struct {
	Path string
	File File
}

// Begin starts a batch. Roots are the directories that the batch may change;
// operations name one by its index and a path below it. Place stays the same for one
// container through its restarts: by it an agent knows what the one before it left
// unfinished on a volume that other containers write to as well.
type Begin struct {
	Generation uint64
	Place      [8]byte
	Roots      []string
}

// A Target is where an operation acts: a path below a root.
type Target struct {
	Root uint64
	Path string // slash-separated, relative, clean
	Old  File   // what it is expected to hold; Unknown: anything
}

func (t *Target) encode(e *encoder) {
	e.uint(t.Root)
	e.string(t.Path)
	t.Old.encode(e)
}

func (t *Target) decode(d *decoder) {
	t.Root = d.uint()
	t.Path = d.string()
	t.Old.decode(d)
}

// An Encoding says how a file's content travels.
type Encoding byte

const (
	Raw      Encoding = iota
	Deflated          // compress/flate
	Patched           // package patch, against Old
)

// Put writes a file. Content comes in Inline when Data messages do not follow,
// else in these up to PutEnd.
type Put struct {
	Target
	Perm     uint32
	SetPerm  bool // else those of the file that is replaced
	MTime    int64
	Size     int64
	Digest   [32]byte
	Encoding Encoding
	Stream   bool
	Inline   []byte
}

// Data is a part of a file's content.
type Data struct{ Bytes []byte }

// PutEnd ends the content; Abort says that the local file changed while it was
// read, and that nothing is to be written.
type PutEnd struct{ Abort bool }

// Remove removes a file, a link, or a directory if it is empty. It is carried out
// after everything was written, so that a renamed file is never missing; Now is
// for what stands in the way of something else in the batch.
type Remove struct {
	Target
	Now bool
}

// Mkdir makes a directory, with those above it.
type Mkdir struct {
	Target
	Perm    uint32
	SetPerm bool
}

// Link makes a symbolic link.
type Link struct {
	Target
	To    string
	MTime int64
}

// Chmod changes permission bits.
type Chmod struct {
	Target
	Perm uint32
}

// End ends a batch: what was prepared is put in place, then the commands run,
// then the application is restarted or signalled once.
type End struct {
	Commands  [][]string
	Restart   bool
	Container bool // Restart is the container's end, after which the kubelet starts it again
	Hold      bool // a failure right after this restart keeps the container
	Signal    uint64
}

// A Code says why an operation was not done.
type Code byte

const (
	OK       Code = iota
	Mismatch      // the path held something else; see Actual
	Denied        // permission
	ReadOnly      // read-only file system
	Full          // no space, or a quota
	Escapes       // a symbolic link leads out of the root
	InTheWay      // something that cannot be replaced is there
	Corrupt       // the content did not have the digest that it should have
	Aborted       // PutEnd said so
	Failed        // anything else
	BadPath       // the path is none
)

// A Result tells what became of one operation that was not simply done.
type Result struct {
	Path   string // absolute
	Code   Code
	Text   string // the system's words
	Actual File   // for Mismatch
}

// Ack answers a batch. Operations are numbered from 0; those without a Result
// were done.
type Ack struct {
	Generation uint64
	Version    uint64   // of the state, afterwards
	Done       uint64   // operations
	Owner      uint64   // files that now belong to the container's user and did not before
	InPlace    []string // files that could not be replaced atomically
	Results    []Result
	Acted      bool // the batch's commands, restart and signal were taken on
	More       bool // another Ack with more Results follows
}

// Ask wants to know what paths hold, contents hashed.
type Ask struct {
	ID    uint64
	Paths []string // absolute
}

// Answer answers Ask in parts, in order.
type Answer struct {
	ID      uint64
	Entries []Entry
	Last    bool
}

// A NoticeKind says what happened to the application or to a command.
type NoticeKind byte

const (
	NoticeStarted NoticeKind = iota // the application, again or for the first time
	NoticeExited                    // it ended, and the container ends with it
	NoticeHeld                      // it failed and the container is held
	NoticeCommand                   // a command of a batch ended
	NoticeSignal                    // a signal was sent, or could not be
	NoticeRepair                    // an observer wants the files checked
)

// A Notice is something that happened by itself.
type Notice struct {
	What       NoticeKind
	Generation uint64 // of the batch that caused it
	Process    Process
	Command    []string
	Code       int64  // exit code of the command
	Took       int64  // nanoseconds
	Text       string // why it failed
}

// Command asks the agent to act on the application without a batch.
type Command struct {
	Restart bool
	Hold    bool
	Signal  uint64
}

// Fetch asks for the content of a file. The answer is Fetched, and if that holds a
// regular file then Data up to PutEnd, whose Abort says that reading failed.
type Fetch struct {
	Path string // absolute
}

// Fetched describes what is at the path; Text says why it cannot be read.
type Fetched struct {
	File  File
	MTime int64
	Text  string
}

// Repair asks an agent to have the synced files checked and put right by whoever
// syncs them. Repaired says whether there was somebody to tell.
type Repair struct{}

// Repaired answers Repair.
type Repaired struct{ Told bool }

// Ping asks for a Pong with the same number.
type Ping struct{ N uint64 }

// Pong answers.
type Pong struct{ N uint64 }

// Refuse ends the connection.
type Refuse struct {
	Code string // "busy", "version", "protocol"
	Text string
}

// partSize is how much of a list goes into one frame; the longest entry fits on
// top of it.
const partSize = 64 << 10

// Parts cuts entries into pieces that fit into frames; there is always one.
func Parts(entries []Entry) [][]Entry {
	var parts [][]Entry
	size, from := 0, 0
	for i := range entries {
		size += len(entries[i].Path) + len(entries[i].File.Link) + 64
		if size > partSize {
			parts = append(parts, entries[from:i+1])
			size, from = 0, i+1
		}
	}
	return append(parts, entries[from:])
}

// PathParts cuts paths into pieces that fit into frames.
func PathParts(paths []string) [][]string {
	var parts [][]string
	size, from := 0, 0
	for i, p := range paths {
		if size += len(p) + 8; size > partSize {
			parts = append(parts, paths[from:i+1])
			size, from = 0, i+1
		}
	}
	if from < len(paths) {
		parts = append(parts, paths[from:])
	}
	return parts
}
