package mirror

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
	"github.com/kdev-io/kdev/sync/transport"
)

// refusedError is what an agent says before it ends a connection.
type refusedError struct{ code, text string }

func (e *refusedError) Error() string { return plain(e.text) }

// plain is what came from a container in a form that is fit for a line on a terminal:
// whoever is root there can make the agent say anything.
func plain(text string) string {
	const most = 400
	text = strings.ToValidUTF8(text, "\uFFFD")
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

func noAgent(c Container) *problem.Problem {
	return &problem.Problem{
		Code: "sync-no-agent", Summary: "the container has no kdev agent, so files cannot be synced into it", Where: where(c),
		Hint: "let `kdev up` build its image",
	}
}

// NoConnection is the code of a problem that trying again may end: the agent in a container
// is not reached.
const NoConnection = "sync-connection"

// A quoted error may hold what a program in a container wrote.
type quoted struct{ error }

func (q *quoted) Error() string { return plain(q.error.Error()) }
func (q *quoted) Unwrap() error { return q.error }

// dialProblem says why there is no connection, and whether that is more than a
// container or a server on its way; nil while nothing is wrong: a container that is
// about to start, a stream that was cut.
func dialProblem(c Container, err error) (p *problem.Problem, lasting bool) {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || c.ID == "" {
		return nil, false
	}
	var r *refusedError
	if errors.As(err, &r) {
		p := &problem.Problem{Code: "sync-" + r.code, Summary: plain(r.text), Where: where(c)}
		switch r.code {
		default:
			p.Code = "sync-protocol" // no agent of ours says anything else
		case "busy":
			p.Hint = "end the other kdev session on this project, or give this one a namespace of its own with -n"
		case "version":
			p.Hint = "`kdev up` builds the image with the agent that it needs; with --no-build it does not, nor does `kdev sync`"
		}
		return p, true
	}
	if errors.Is(err, protocol.ErrFrame) {
		return &problem.Problem{Code: "sync-protocol", Summary: "what came out of the container is not what an agent says; the connection is made anew", Where: where(c)}, true
	}
	text, cause := err.Error(), &quoted{err}
	if transport.Missing(err) {
		p := noAgent(c)
		p.Err = cause
		return p, true
	}
	if strings.Contains(text, "forbidden") {
		return &problem.Problem{Code: "sync-forbidden", Summary: "the cluster does not allow exec into the container", Where: where(c), Err: cause,
			Hint: "ask for the verb create on pods/exec in this namespace"}, true
	}
	return &problem.Problem{Code: NoConnection, Summary: "no connection to the agent in the container; trying again", Where: where(c), Err: cause}, false
}

// pathProblem says why one path could not be made what it should be.
func (w *worker) pathProblem(c *conversation, op engine.Op, r *protocol.Result) *problem.Problem {
	p := &problem.Problem{Summary: "cannot " + op.Kind.String() + " " + op.Path, Where: where(w.describe())}
	if op.Kind == engine.Put || op.Kind == engine.Link {
		p.Summary = "cannot write " + op.Path
	}
	if r.Text != "" {
		p.Err = errors.New(plain(r.Text))
	}
	mount := c.mountOf(op.Path)
	switch r.Code {
	case protocol.ReadOnly:
		p.Code = "sync-read-only"
		if mount != nil {
			p.Summary += ": " + describeMount(mount) + " is mounted there"
			p.Hint = "leave it out with a sync rule in kdev.yaml, or mount something writable there"
		} else {
			p.Summary += ": the container's root is read-only"
			if path.Dir(op.Path) == "/" {
				// kdev.yaml refuses a volume there: it would hide the agent.
				p.Hint = "no writable copy of the whole root can be mounted: keep the files in a folder, COPY that to one of its own, such as `COPY src /app`, and add `sync: [{from: src, to: /app, volume: true}]` in kdev.yaml"
				break
			}
			p.Hint = fmt.Sprintf("mount a writable copy of the folder: for this service in kdev.yaml, `sync: [{from: FOLDER, to: %s, volume: true}]` with the folder that is copied there", path.Dir(op.Path))
		}
	case protocol.Denied:
		p.Code = "sync-denied"
		p.Summary += fmt.Sprintf(": the container's user (%d:%d) may not", c.welcome.UID, c.welcome.GID)
		p.Hint = "COPY with --chown in the Dockerfile, so that the user owns the directory"
	case protocol.Full:
		p.Code, p.Hint = "sync-no-space", "free space in the container or on the node; it is tried again twice a second"
	case protocol.Escapes:
		p.Code, p.Hint = "sync-link-escapes", "a symbolic link in the container leads out of the synced directory: sync to its target instead"
	case protocol.InTheWay:
		p.Code, p.Hint = "sync-in-the-way", "remove what is there in the container, or copy to another place; a sync rule for a single file puts it into a folder when its `to` ends with a slash"
	case protocol.Mismatch:
		p.Code, p.Hint = "sync-changes-in-container", "something in the container writes the same file all the time: leave it out of the sync"
	case protocol.Corrupt, protocol.Aborted:
		p.Code, p.Hint = "sync-changed", "the file keeps changing; it is sent when it rests"
	default:
		p.Code = "sync-write"
	}
	return p
}

// clashProblem says that a file and a folder of the project have one place. The place itself
// is what a rule for a single file names that lacks the slash.
func clashProblem(c Container, p string) *problem.Problem {
	return &problem.Problem{
		Code: "sync-in-the-way", Where: where(c), Summary: "cannot write " + p + ": other files of the project belong into a folder of that name",
		Hint: fmt.Sprintf("where a sync rule of kdev.yaml puts a single file there, write `to: %s/` or the file's whole path", p),
	}
}

func asProblem(err error) *problem.Problem {
	if p := problem.As(err); p != nil {
		return p
	}
	return &problem.Problem{Code: "sync-read", Summary: "a local file cannot be read", Err: err}
}

func heldProblem(c Container, n *protocol.Notice) *problem.Problem {
	return &problem.Problem{
		Code: "sync-held", Where: where(c),
		Summary: fmt.Sprintf("the application failed after the restart (exit code %d); its container is kept", n.Process.ExitCode),
		Hint:    "its log says why; the next saved file starts it again",
	}
}

// vainProblem says that a restart did not help before.
func vainProblem(c Container, path string) *problem.Problem {
	return &problem.Problem{
		Code: "sync-restart-again", Where: where(c),
		Summary: fmt.Sprintf("the container was restarted %d times for %s, which was another one again after each start: it is not restarted for that any more", mostRestarts, plain(path)),
		Hint:    "where its init writes the file itself, leave that out of the rule; where the first sync takes longer than its start waits, a new image holds the files",
	}
}

// slowProblem says that a batch is taking its time.
func slowProblem(c Container) *problem.Problem {
	return &problem.Problem{
		Code: "sync-slow", Where: where(c), Summary: "the agent in the container lives, and has not answered to the last save",
		Hint: "look at the container: its disk or its processor may be busy, or its volume away",
	}
}

// noRunProblem says that nobody in the container can do what rules ask for.
func noRunProblem(c Container, act *actions) *problem.Problem {
	what := "it cannot be signalled"
	switch {
	case len(act.commands) > 0:
		what = fmt.Sprintf("`%s` is not run", plain(strings.Join(act.commands[0], " ")))
	case act.restart:
		what = "it cannot be restarted in place"
	}
	return &problem.Problem{
		Code: "sync-no-run", Where: where(c),
		Summary: "the files are there, but no kdev agent runs the application: " + what,
		Hint:    "let `kdev up` build and run its image, without an entrypoint that has to be the first process",
	}
}

func commandProblem(c Container, n *protocol.Notice) *problem.Problem {
	return &problem.Problem{
		Code: "sync-command", Where: where(c),
		Summary: fmt.Sprintf("`%s` failed in the container (exit code %d)", plain(strings.Join(n.Command, " ")), n.Code),
		Hint:    "its output is in the container's log; it runs again with the next change",
	}
}

func duration(ns int64) time.Duration { return time.Duration(ns) }
