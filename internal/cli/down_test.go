package cli

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/deploy"
)

// A removal that failed never says that there was nothing to remove.
func TestWriteDown(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report deploy.DownReport
		failed error
		want   string
	}{
		{"nothing there", deploy.DownReport{}, nil, "nothing of this project is deployed in namespace shop\n"},
		{"failed before anything went", deploy.DownReport{}, context.Canceled, ""},
		{"interrupted", deploy.DownReport{Removed: []string{"Service/web"}, Left: []deploy.Kept{{Object: "Deployment/web", Why: "it is being deleted and waits for what it controls"}}}, context.Canceled,
			"removed 1 objects (2.0 s): Service/web\nleft Deployment/web: it is being deleted and waits for what it controls\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			writeDown(Env{Out: &out}, "shop", &tc.report, tc.failed, 2*time.Second)
			if out.String() != tc.want {
				t.Errorf("got  %q\nwant %q", out.String(), tc.want)
			}
		})
	}
}
