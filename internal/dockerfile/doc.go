// Package dockerfile says what a saved file means to an image: it can be put
// into the running containers, it needs a new image, or it is read by nothing.
//
// In: a Dockerfile, its build context with the ignore rules, build arguments.
// Out: for each path of the context the container paths where the final stage
// has it, and the line of the Dockerfile that decides. Parsing is BuildKit's.
// It never builds, never pulls (what a base image holds can be told to it by
// Options.Base) and never writes.
//
// A path can be synced when COPY or ADD put it into the final stage, directly
// or through other stages, and no later RUN of a stage on its way could have
// read it. The RUNs that read nothing are listed in harmless.go. A path that was
// consumed once (package.json before `npm ci`) means a new image even if a
// later COPY brings it again.
//
// Invariant: when in doubt the answer is Rebuild, with the doubt in Why. A build
// costs seconds; a container that differs from what its image would be costs
// trust.
package dockerfile
