package cli

import (
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/config"
)

func TestUnknownNeeds(t *testing.T) {
	p := &config.Project{
		Services: []config.Service{{Name: "web", Needs: []string{"api", "assets", "postgers", "billing/api", "mysql"}}, {Name: "api"}},
		Local:    []config.Local{{Name: "assets"}},
	}
	got := unknownNeeds(p, nil)
	if len(got) != 2 || !strings.Contains(got[0], "web names postgers") || !strings.HasSuffix(got[0], "did you mean postgres?") || !strings.Contains(got[1], "mysql") || strings.Contains(got[1], "did you mean") {
		t.Errorf("%q", got)
	}
}
