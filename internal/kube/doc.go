// Package kube is kdev's one way to a Kubernetes API server: a client for one
// context, informers for one namespace with an owner index, exec, and streams
// to a port of a pod.
//
// In: a kubeconfig and the name of a context, then namespaces and pods.
// Out: client-go interfaces tuned for a tool (no client-side rate limit, one
// HTTP/2 connection), snapshots of a namespace with one coalesced change
// signal, byte streams. It never polls, never writes an object, never retries
// behind the caller's back, and keeps no state between processes.
//
// Invariant: every goroutine belongs to a value that waits for it:
// [Namespace.Wait] for informers, [Client.Close] for pod connections.
package kube
