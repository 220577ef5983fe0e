// Package e2e tests `kdev logs` on a real cluster: the binary, kubelets, an API
// server that is restarted, logs that are rotated. What a container really wrote
// is read from the node's files under /var/log/pods, past the API. It holds
// nothing but tests and benchmarks, behind the tag e2e.
package e2e
