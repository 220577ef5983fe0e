// Package embedded holds the linux programs that kdev puts into containers:
// the in-pod agent and the registry.
//
// In: a program's name and an architecture.
// Out: the program's bytes and an ID that changes when they do.
// It never downloads anything and never runs what it returns. Where the bytes
// were not embedded, because kdev was not built by make, it compiles them with
// the local Go from the sources that kdev itself was compiled from.
// Invariant: equal sources and an equal Go version give equal bytes, on every
// machine and in every folder.
package embedded
