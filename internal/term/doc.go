// Package term holds what kdev needs to know of a terminal: whether a stream is
// one, how wide it is, whether to colour, and how to show foreign text on it.
//
// In: an open file, the environment, bytes that a pod, a build or a user wrote.
// Out: facts and safe bytes. It never writes to the terminal, never changes its
// modes and keeps no state. Invariant: what [AppendSafe] returns holds no
// control sequence but SGR (colour), and no control character but tab.
package term
