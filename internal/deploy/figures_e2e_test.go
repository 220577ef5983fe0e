//go:build e2e

package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The figures of `go test -tags e2e -v -run Figures ./internal/deploy`: they are
// logged and not judged, since the machine may be busy.
func TestFigures(t *testing.T) {
	t.Run("500 objects from nothing", func(t *testing.T) {
		d := deployer(t)
		var all []*Object
		for i := range 125 {
			all = append(all, parse(t, strings.ReplaceAll(smallService, "NAME", fmt.Sprintf("svc-%03d", i)))...)
		}
		started := time.Now()
		apply(t, d, all)
		t.Logf("applied in %s", time.Since(started).Round(time.Millisecond))
		spy.reset(nil)
		started = time.Now()
		apply(t, d, all)
		t.Logf("unchanged in %s, %d requests, %d writes", time.Since(started).Round(time.Millisecond), spy.count(), len(spy.writes()))
	})
	t.Run("a bad command until its cause", func(t *testing.T) {
		d := deployer(t)
		good := cause{name: "web", run: sleeping}
		bad := cause{name: "web", run: "command: [servr]"}
		var took []time.Duration
		for range 7 {
			apply(t, d, parse(t, good.manifest()))
			watched(t, d, func(live *watching) bool { return d.status(live.Namespace, good.ref()).Ready })
			var started time.Time
			watched(t, d, func(live *watching) bool { // the informers are there before the save
				if started.IsZero() {
					started = time.Now()
					apply(t, d, parse(t, bad.manifest()))
				}
				s := d.status(live.Namespace, bad.ref())
				return s.Problem != nil && s.Problem.Code == "command-not-found"
			})
			took = append(took, time.Since(started))
		}
		slices.Sort(took)
		t.Logf("median %s, of %v", took[len(took)/2].Round(time.Millisecond), took)
	})
}
