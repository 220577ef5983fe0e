// Package tunnel carries connections over one stream of bytes: those that a port
// in a container accepts, to the program on this machine that stands in for the
// container's own.
//
// In: a stream, connections to carry. Out: the same connections at the other end,
// in their order of bytes, each direction ended by itself. It never dials and
// listens nowhere, and knows nothing of Kubernetes.
//
// Invariant: a connection that nobody reads holds up no other one: each has a
// window, and what arrives beyond it is a fault of the peer.
package tunnel
