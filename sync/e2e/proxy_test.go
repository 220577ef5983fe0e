//go:build e2e

package e2e

import (
	"testing"

	"github.com/kdev-io/kdev/sync/transport"
	"github.com/kdev-io/kdev/sync/transport/transporttest"
)

// newProxy stands between kdev and the API server.
func newProxy(t testing.TB) (*transporttest.Proxy, transport.Dialer) {
	t.Helper()
	p, cfg, err := transporttest.New(client.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, transport.Exec(cfg)
}
