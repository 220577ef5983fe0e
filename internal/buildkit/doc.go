// Package buildkit reaches a BuildKit that is not part of a container engine.
//
// In: an address as buildctl takes it, or the wish for one in the cluster, with a
// client of that cluster. Out: connections of BuildKit's own client; problems that
// say why there is none.
// It never builds, and knows no image store, project or command line.
// Invariant: in a cluster it touches nothing outside of the namespace kdev-buildkit,
// and not that one where another has made it.
package buildkit
