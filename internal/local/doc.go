// Package local supervises what a project runs on this machine: generators, which
// run to their end each time they are asked to, and servers, which go on until
// they are stopped and are started again when they end.
//
// In: commands, and when to run them. Out: their lines as they come, and a Status
// that says how each is. It never looks at files, decides nothing about what
// depends on the work, and prints nothing. Invariant: when Run of a Generator or
// a Server has returned, nothing of what it started is left, in its process group.
package local
