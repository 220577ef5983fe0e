// Package router is the HTTP front of a project on this machine: what the
// project's Ingress and HTTPRoute objects say about hosts and paths, without a
// controller in the cluster and without a hosts file.
//
// In: rendered objects, from which [Rules] and [Services] make a [Table]; a
// function that opens a connection to a Service; requests on a loopback port.
// Out: answers of the project's pods, or a page that says why there is none.
//
// It never asks a cluster, never listens on anything but loopback, and never
// passes a request of a host on that the project does not name: a page of
// somebody else whose name was pointed at this machine reaches nothing.
// Invariant: a request is answered by one Table, whole, whatever is swapped
// meanwhile, and the listener stays open until its context ends.
package router
