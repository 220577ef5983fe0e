// Package transcript keeps what builds print.
//
// In: the events of a build. Out: a file for each build that printed something
// or failed, the newest ones of each service; the file of the last one.
// It never decides how a build ends, and a disk on which nothing can be kept is
// no failure of it. Invariant: a file is its owner's alone (0600), and no larger
// than Limit.
package transcript
