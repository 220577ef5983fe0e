package session

import (
	"context"
)

// A Verb is what a face may ask a session to do.
type Verb string

const (
	DoBuild   Verb = "build"      // make the image anew, whatever was saved
	DoSync    Verb = "sync"       // compare every container with the tree now, and put right what differs
	DoDeploy  Verb = "deploy"     // render and apply anew
	DoRestart Verb = "restart"    // start the process anew: in place where there is an agent, else by new pods
	DoTrigger Verb = "trigger"    // whatever is held for it: paths that were saved while paused or `trigger: manual`
	DoPause   Verb = "pause"      // do nothing with what is saved for it
	DoResume  Verb = "resume"     // and go on
	DoStart   Verb = "start"      // a service with `start: manual`
	DoScale   Verb = "scale"      // Replicas; a hand-made change, kept until the session ends
	DoForward Verb = "forward"    // Port of the ready pods, or of Pod alone, until the session ends
	DoBack    Verb = "rollback"   // to the image that was ready before; what is saved waits then
	DoCancel  Verb = "cancel"     // the build under way
	DoDelete  Verb = "delete-pod" // Pod; its controller makes another one
	DoTask    Verb = "task"       // Task of kdev.yaml, in a container; its lines are those of its service
	DoDiff    Verb = "diff"       // what an apply would change now, as text; nothing is changed
	DoStop    Verb = "stop"       // the session; everything stays in the cluster
	DoDown    Verb = "down"       // the session, and then what it deployed goes
)

// A Command is what a face asks for. Service "" means all of them where that
// makes sense: build, sync, deploy, restart, trigger, pause, resume.
type Command struct {
	Verb     Verb   `json:"verb"`
	Service  string `json:"service,omitempty"`
	Pod      string `json:"pod,omitempty"`
	Replicas int    `json:"replicas,omitempty"`
	Port     string `json:"port,omitempty"` // as `ports` of kdev.yaml has them: 80, 8080:80
	Task     string `json:"task,omitempty"`
}

// Control is what a face has of a session: the one in its process, or one that
// it talks to over the control socket.
type Control interface {
	// State is the newest snapshot. It is never changed after it was handed out.
	State() *State
	// Subscribe gives a signal that the State changed, coalesced, and the function
	// that ends it.
	Subscribe() (<-chan struct{}, func())
	// Do asks for something and returns when it has begun, with a line for a
	// person, or with the reason why it cannot. How it goes on is in the State.
	// Problems: service-unknown, pod-unknown, command-refused.
	Do(ctx context.Context, c Command) (string, error)
}
