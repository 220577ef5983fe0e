// Package runner lets a benchmark program run kdev itself on a cluster of its own.
//
// In: the program and the name of a cluster. Out: kdev commands that share nothing with
// the person's own kdev (store, registry, sessions), and the events of a `kdev up`.
package runner
