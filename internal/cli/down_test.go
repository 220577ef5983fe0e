package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// A removal that failed never says that there was nothing to remove.
func TestWriteDown(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report deploy.DownReport
		failed error
		at     aim
		want   string
	}{
		{"nothing there", deploy.DownReport{}, nil, aim{}, "nothing of this project is deployed in namespace shop\n"},
		{"failed before anything went", deploy.DownReport{}, context.Canceled, aim{}, ""},
		{"interrupted", deploy.DownReport{Removed: []string{"Service/web"}, Left: []deploy.Kept{{Object: "Deployment/web", Why: "it is being deleted and waits for what it controls"}}}, context.Canceled, aim{},
			"removed 1 objects (2.0 s): Service/web\nleft Deployment/web: it is being deleted and waits for what it controls\n"},
		{"volumes that stay, of a namespace", deploy.DownReport{Removed: []string{"StatefulSet/db"}, KeptVolumes: []string{"data-db-0"}}, nil, aim{namespace: "shop-x"},
			"removed 1 objects (2.0 s): StatefulSet/db\nkept volumes: data-db-0\nhint: `kdev down -n shop-x --volumes` removes them and their data\n"},
		{"volumes that stay, of an environment", deploy.DownReport{Removed: []string{"StatefulSet/db"}, KeptVolumes: []string{"data-db-0"}}, nil, aim{env: "staging", home: "shop-staging", context: "far"},
			"removed 1 objects (2.0 s): StatefulSet/db\nkept volumes: data-db-0\nhint: `kdev down -e staging --context far --volumes` removes them and their data\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			writeDown(Env{Out: &out}, "shop", tc.at, &tc.report, tc.failed, 2*time.Second)
			if out.String() != tc.want {
				t.Errorf("got  %q\nwant %q", out.String(), tc.want)
			}
		})
	}
}

// What keeps a removal from beginning is told with what ends it.
func TestDownBesideASession(t *testing.T) {
	at := &problem.Problem{Code: "already-up", Where: "context kind-kdev, namespace shop", Summary: "another one", Hint: "`kdev up -n NAME`"}
	p := problem.As(inSight(at))
	if p == nil || p.Code != "already-up" || p.Where != at.Where || !strings.Contains(p.Hint, "`kdev stop`") || strings.Contains(p.Hint, "kdev up -n") {
		t.Errorf("%+v", p)
	}
	if other := errors.New("no cluster"); inSight(other) != other {
		t.Error("another error is reworded")
	}
}
