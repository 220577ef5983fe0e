// Package process runs programs on this machine: those that builds need, and
// those that a project names.
//
// In: a command line, its folder and environment. Out: its lines as they come,
// and where it failed the end of its output. It never runs a shell by itself.
// Invariant: when Run has returned, or Done of a Running is closed, the program
// and all that it started in its process group have ended.
package process
