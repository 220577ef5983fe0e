package session

import (
	"testing"

	"github.com/kdev-io/kdev/internal/deploy"
)

// What an apply made anew is told, object by object, and counted.
func TestRecreatedIsTold(t *testing.T) {
	l := routed(t, 20080)
	var told []string
	l.s.notify = append(l.s.notify, func(n Notice) {
		if n.Code == "recreated" || n.Code == "applied" {
			told = append(told, n.Text)
		}
	})
	const line = "Deployment/web is made anew: spec.selector cannot be changed"
	applyDone{applied: &deploy.Applied{Unchanged: []string{"Service/shop"}, Recreated: []string{"Deployment/web"}, Anew: []string{line}}, whole: true}.apply(l)
	if len(told) != 2 || told[0] != line || told[1] != "applied 1 object (0 created, 0 changed, 1 recreated, 1 unchanged)" {
		t.Errorf("told %q", told)
	}
}
