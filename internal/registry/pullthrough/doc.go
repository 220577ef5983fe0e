// Package pullthrough fetches images of others from their own registries for
// the nodes of a cluster, and keeps them in the store: a recreated cluster
// pulls nothing twice.
//
// In: what a node asks for and the store lacks; what kdev says of the machine
// that it runs on (certificates, proxy, logins of private images that a project
// names). Out: manifests and blobs in the store, under the repository of their
// copies; a blob is read by all who want it while it is still written.
// It keeps no login on disk, asks nobody before it was told how, and connects
// to no address of this machine or its link. It uses the standard library
// only, because the in-cluster program holds it.
// Invariant: a blob is in the store when its digest was seen to be right, and
// no failure keeps a node from asking the registry itself, whose own words, if
// it has any, reach the person.
package pullthrough
