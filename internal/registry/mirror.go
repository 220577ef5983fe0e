package registry

import (
	"fmt"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// MirrorRepository is where the store keeps a copy of host's repository.
// containerd asks for it under the plain name with the host in ?ns=.
func MirrorRepository(host, repository string) string {
	return layout.Mirror(host, repository)
}

// mirrorTOML sends every other host's pulls here first. There is no server
// line: what the store does not hold, and everything while it is away, comes
// from where it always came from.
func (e *Endpoint) mirrorTOML() string {
	return fmt.Sprintf(`%s Images that this machine already holds are not fetched again.
[host."http://%s:%d"]
  capabilities = ["pull", "resolve"]
`, ours, e.Container, clusterPort.Num())
}
