package deploy

import (
	"testing"

	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// One chart may be a dependency twice, by aliases, in two versions.
func TestLockedVersionOfAliases(t *testing.T) {
	ch := &chart.Chart{Lock: &chart.Lock{Dependencies: []*chart.Dependency{
		{Name: "db", Repository: "https://x", Version: "1.2.0"}, {Name: "db", Repository: "https://x", Version: "2.3.0"},
	}}}
	for want, locked := range map[string]string{"^1.0.0": "1.2.0", "^2.0.0": "2.3.0"} {
		if got, err := lockedVersion(ch, &chart.Dependency{Name: "db", Repository: "https://x", Version: want, Alias: want}); err != nil || got != locked {
			t.Errorf("%s: %s, %v", want, got, err)
		}
	}
	if _, err := lockedVersion(ch, &chart.Dependency{Name: "db", Repository: "https://x", Version: "^3.0.0"}); err == nil {
		t.Error("3 is not locked")
	}
}
