package pullthrough

import (
	"net/netip"
	"time"
)

// At changes where addresses are, and which may be connected to although they
// would be refused.
func (c *Cache) At(at func(addr string) string, permit func(netip.AddrPort) bool) {
	c.dial = dialing{at, permit}
}

// Clock sets what the cache takes for the time.
func (c *Cache) Clock(now func() time.Time) { c.now = now }

var (
	Allowed   = allowed
	Askable   = askable
	Excepted  = excepted
	Challenge = challenge
)
