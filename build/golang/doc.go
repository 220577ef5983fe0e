// Package golang compiles Go programs for an image, without an engine.
//
// In: a main package, a platform, flags. Out: a static binary, and before that
// the files that it is made from (as `go list` says: modules, workspaces and
// vendored packages included). It never downloads a toolchain and never writes
// into the project. Invariant: equal sources, flags and toolchain give equal
// bytes, wherever the sources lie.
package golang
