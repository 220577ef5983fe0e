// Package process runs the programs that builds need on this machine.
//
// In: a command line, its folder and environment. Out: its lines as they come,
// and where it failed the end of its output. It never runs a shell by itself.
// Invariant: when Run has returned, the program and all that it started in its
// process group have ended.
package process
