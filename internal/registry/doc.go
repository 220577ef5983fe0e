// Package registry is the image store of this machine and what makes a
// cluster pull from it.
//
// In: images by digest; a Docker engine; the nodes of a local cluster.
// Out: a Store that builders write and read; an Endpoint whose Host goes into
// pod specs; nodes that pull from it.
// It never copies an image to a node and never restarts or recreates one. It
// touches no container, volume, ConfigMap or hosts.toml that kdev did not make.
// Invariant: what Endpoint.Host names can be pulled by every connected node
// for as long as the engine runs, whether a kdev runs or not.
//
// The store itself is internal/registry/layout, the HTTP side
// internal/registry/distribution; cmd/kdev-registry holds just these two.
package registry
