// Package transport opens the byte stream to the agent of a container.
//
// In: a REST configuration, a container. Out: a stream that ends when the
// container, the API server or the agent ends it.
// It never knows what the bytes mean and never tries twice: the mirror does.
//
// Invariant: a stream that was returned has been accepted by the API server, and
// its Close leaves no goroutine behind. A Dial that is given up in the middle of a
// handshake leaves one, for ten seconds at most: a handshake cannot be interrupted.
package transport
