package session

import (
	"fmt"
	"strings"

	"github.com/kdev-io/kdev/internal/deploy"
)

// compare says what an apply of everything would change in the cluster now. It
// changes nothing.
func (l *loop) compare() (func() (string, error), error) {
	if l.objects == nil {
		return nil, refused("the manifests were not rendered yet")
	}
	objects := l.deployable()
	return func() (string, error) {
		diffs, err := l.s.parts.Deployer.Diff(l.ctx, objects)
		if err != nil {
			return "", fmt.Errorf("comparing with the cluster: %w", err)
		}
		var b strings.Builder
		if _, err := deploy.WriteDiff(&b, diffs, false); err != nil {
			return "", err
		}
		return b.String(), nil
	}, nil
}
