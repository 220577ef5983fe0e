// Package build makes images from sources.
//
// In: a Spec, what of a project is one image; the index of the project's files.
// Out: an image in the store that the cluster can pull, by digest; a Record
// of what went into it; progress events.
// It never deploys, never watches, never writes into the project, and knows
// neither cluster nor command line.
// Invariant: equal inputs and options give the digest that they gave before,
// without an engine; the production image is the same whether a dev image was
// made from it or not.
//
// A Builder has one method. The outer ones decorate the inner ones, a small
// file each: lease(explain(record(dev(link(cache(warn(limit(ladder)))))))).
package build
