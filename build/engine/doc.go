// Package engine builds a Dockerfile in a Docker engine and pushes the result
// to a registry that the engine reaches.
//
// In: a Request with absolute paths; the engine's client.
// Out: progress events as they happen; the digest that the push made.
// It never reads the Dockerfile's context itself where the engine has BuildKit
// (BuildKit asks for what it lacks), never decides whether a build is needed,
// and leaves no tag behind on the engine.
// Invariant: a Build that returned nil left exactly one new tag, which Push removes.
package engine
