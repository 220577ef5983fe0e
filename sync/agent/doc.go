// Package agent is the program that dev images carry at /.kdev/agent.
//
// `run -- ENTRYPOINT…` is the container's first process: it starts the
// application, reaps, forwards signals, passes exit codes on, and restarts the
// application in place when a sync asks for it. It holds what was acknowledged,
// under a boot nonce, for as long as the container's root lives. `serve`, which
// kdev starts by exec, hands its stdin and stdout to run over an abstract unix
// socket and waits: one process applies batches, and no copy of the bytes is made.
// Without a run serve applies them itself, and nothing can be restarted in place: a
// container of others', or one whose entrypoint must be the first process, for which
// run makes room when it is to start.
//
// `carry PORT…`, started by exec too, lets a program on the developer's machine
// stand in for the application: run ends it, carry listens on its ports and carries
// each connection over its stdin and stdout (package tunnel). When that stream ends,
// run starts the application again: a pod is never without its program for longer
// than kdev is there. `env` prints the container's environment for that program.
//
// `seed` copies folders of the image into volumes, in an init container, where a
// writable copy is wanted of what a read-only root holds. `usage` prints what the
// container takes, for clusters that do not tell it. `renewed` waits until the kubelet has
// renewed files of a ConfigMap or Secret, so that what is to follow does when they are there.
//
// In: frames of package protocol. Out: files, signals, acknowledgements.
// It never writes outside the roots that a batch names (os.Root resolves every
// path), never deletes what kdev did not put there or know of, opens no port but those
// that carry is told to, and needs no writable directory of its own, no shell and no
// capability.
//
// How run knows that kdev will come: it cannot, since kdev changes nothing in a
// pod but the image. So a start waits callWindow, a second, for a connection (kdev
// tries every 50 ms from PodScheduled on and needs some 65 ms to open a stream; on
// two busy cores with thirty containers starting at once 500 ms were too short for
// most), and only when one came up to gateLimit, two seconds in all, for the first
// batch. A pod that starts while no session is up (after Ctrl-C, or rescheduled) is
// late by that second, once per container start; it runs the image's content and
// is marked unsynced, so that a session which comes later restarts what a sync rule
// says. Restarts in place never wait. A program that must be the first process waits
// firstWindow, five seconds: one that starts too early takes a restart of its container.
//
// Invariant: a path is acknowledged only after the file system holds it.
package agent
