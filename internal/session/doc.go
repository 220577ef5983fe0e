// Package session is one `kdev up`: the state, the loop that decides, the ports,
// and the router in front of the services.
//
// In: a project (internal/config), a cluster, changes of files (watch) and of
// the cluster (internal/kube). Out: builds started and cancelled, manifests
// applied, files handed to the mirror, ports forwarded; and, for the faces,
// snapshots of the State and a stream of Notices. It never prints and never
// reads a terminal. Invariant: the State changes in one goroutine only, the
// loop's, and each unit of work ends in it as done or failed with a cause.
package session
