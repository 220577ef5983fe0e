package session

import (
	"testing"

	"github.com/kdev-io/kdev/internal/deploy"
)

// What is not applied by wish is not waited for.
func TestKeptBack(t *testing.T) {
	database := deploy.Ref{Kind: "Database", Name: "main"}
	for name, tc := range map[string]struct {
		svc  service
		want bool
	}{
		"started":                        {service{}, false},
		"stopped":                        {service{off: true}, true},
		"paused":                         {service{paused: true}, false},
		"paused, and its manifests wait": {service{paused: true, holdsManifests: true}, true},
		"resumed":                        {service{holdsManifests: true}, false},
	} {
		tc.svc.workloads = []deploy.Ref{database}
		if got := keptBack([]*service{&tc.svc}, database); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
		if keptBack([]*service{&tc.svc}, deploy.Ref{Kind: "Database", Name: "other"}) {
			t.Errorf("%s: another's object", name)
		}
	}
}
