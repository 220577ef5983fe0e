// Package distribution serves a layout.Store by the OCI distribution spec
// (v1.1): pull, push, content discovery, and content management of tags and
// manifests.
//
// In: HTTP requests of container runtimes, engines and kdev itself.
// Out: blobs straight from the store's files; uploads straight into them.
// It never holds a blob in memory, never reads one again to learn its hash,
// and takes nothing from a client without the token; what it lacks of another
// registry's images it has fetched by package pullthrough, if it was given one.
// It uses the standard library only, because the in-cluster program holds it.
// Invariant: a request that is answered 201 is in the store, complete.
package distribution
