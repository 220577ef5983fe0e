// Package testkube is a fake Kubernetes API server for tests: objects with list and
// watch, and logs of containers that a test writes and breaks as it likes.
//
// In: objects, log lines, a script of faults. Out: HTTP over TLS, HTTP/2 included,
// that client-go, kubectl and other clients take for an API server. It runs nothing, validates
// nothing and knows no admission, scheduling or controllers.
//
// Invariant: what a log request answers follows the kubelet's rules (package
// pkg/kubelet/kuberuntime/logs) as long as no fault says otherwise.
package testkube
