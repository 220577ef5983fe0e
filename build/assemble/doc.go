// Package assemble makes images without an engine, as far as that is possible:
// it turns a Dockerfile into BuildKit's steps by BuildKit's own frontend and
// does those itself that only copy, create and configure.
//
// In: a Request; the store; an Engine for what only an engine can do.
// Out: an image in the store, and how far down the ladder it had to go.
// It runs no command of the Dockerfile, and never reads a layer that it does
// not copy from.
// Invariant: the file tree and the configuration are those that BuildKit would
// have made; what cannot be computed is refused by an Unsupported with its line,
// never approximated.
//
// The final stage is a chain of steps, each on the result of the one before.
// From its end, steps that only copy files or create folders are light; the
// first one that is not (a RUN, a COPY from a stage with a RUN) is the heavy
// step. Its layers are made by the engine once, pushed to the store and found
// again by a key that covers all that went in; the light steps after it become
// one layer each, here. So an edit of what is COPYed after the last RUN never
// starts an engine.
package assemble
