// Package source reads the log of one container from the API, from its first
// wanted line to its last, whatever happens to the streams in between.
//
// In: what the pod's status says of the container, streams of the API that may
// end or break at any byte. Out: lines appended to the store, notices. It does not
// choose containers, filter or format.
//
// Invariant: a line that the kubelet still has is passed on exactly once, in the
// order of the container's log, as long as the stamps of neighbouring lines are
// not more than 64 lines out of order.
package source
