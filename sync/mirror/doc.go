// Package mirror keeps the files of all containers of a session equal to the
// local ones.
//
// In: for each service the desired tree with a generation, and the containers
// that should hold it. Out: events: what was synced where, and what could not be.
// It never writes a local file, never looks at the cluster (the session says
// which containers there are), and never decides what is desired.
//
// Each container has a worker: it dials until the agent answers, learns what the
// container holds, sends the difference as one batch, and again when something
// changed. While a batch is under way newer generations gather; the next batch
// takes them together. A lost connection, one that has become silent while another
// could be opened, a restarted container and a new pod are the same case: learn, and
// send the difference.
//
// Invariant: a container is reported Synced with a generation only after its agent
// acknowledged every path of it.
package mirror
