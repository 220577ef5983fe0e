// Package engine says what has to be done so that one tree becomes another.
//
// In: the desired tree, the tree that a container is known to hold, the paths in
// question. Out: operations in an order that can be carried out.
// It is pure: no input or output, no clock, no goroutine.
//
// Invariant: carrying out Diff(desired, known) on any file system that holds
// known, and anything else besides, makes it hold desired and leaves all the rest
// as it was, unless the rest stands where desired has something. A directory goes for a
// file only when it is kdev's or the image's and nothing below it is desired.
package engine
