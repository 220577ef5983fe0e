// Package guard holds tests of the repository as a whole: which package may
// import which, what go.mod names and what for, what every package, error
// code and example must have, and what no file may mention.
//
// In: the work tree and the go command. Out: a failing test that names the
// file and the rule. It never builds or runs kdev. Invariant: a rule of
// docs/architecture.md that can be checked without running anything is
// checked here.
package guard

// root is the repository, seen from this folder.
const root = "../.."
