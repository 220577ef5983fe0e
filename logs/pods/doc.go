// Package pods finds the pods whose logs are wanted and keeps knowing them.
//
// In: a client, namespaces, selectors, queries such as "deploy/webui". Out: live
// pods with a change signal, and for each pod and container whether it is wanted.
// It reads no log.
//
// Invariant: after the first list a lost watch never ends anything: it is listed
// again for as long as it takes.
package pods
