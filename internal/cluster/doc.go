// Package cluster finds, makes, starts and deletes local clusters, and decides
// which contexts kdev may touch.
//
// In: the kubeconfig, a context that a person named or none, the contexts that a
// project allows, a container engine's command line.
// Out: the cluster to work on, with its context and node containers; steps for a
// person to read; typed problems. It never touches a cluster of a name that it
// was not asked for, and never deploys anything.
//
// Invariant: the user's current-context and every kubeconfig entry that is not
// the entry of the cluster at hand are the same before and after, also when the
// work is cut short.
package cluster
