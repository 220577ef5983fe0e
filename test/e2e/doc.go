// Package e2e tests the kdev binary against a real kind cluster, real images
// and real edits. It needs a container engine with the node image and the base
// images (`go run ./hack/offline all` makes them); everything else it makes
// and removes itself. It is behind the build tag e2e, and no test in it skips:
// without an engine the suite fails and says what to run.
//
// KDEV_E2E_KEEP=1 leaves the cluster and the store for the next run.
package e2e
