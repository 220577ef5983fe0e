package deploy

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/problem"
)

// An apply that waits for something to go says so, and what holds it, and ends with its time.
func TestApplyWaitsForWhatIsTerminating(t *testing.T) {
	const text = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
`
	terminating := func(u *unstructured.Unstructured) *unstructured.Unstructured {
		u.SetDeletionTimestamp(&metav1.Time{Time: time.Now()})
		u.SetFinalizers([]string{"example.com/hold"})
		return u
	}
	for i, name := range []string{"ConfigMap/settings", "Namespace/other"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, s := stubbed(t, "", terminating(liveOf(t, text)[i]))
				var told []string
				d.Tell(func(line string) { told = append(told, line) })
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := d.Apply(ctx, parse(t, text)[i:i+1])
				want := name + " is being deleted and waits for finalizer example.com/hold"
				if p := problem.As(err); p == nil || p.Code != "removal-stuck" || p.ExitCode() != 4 || name+strings.TrimPrefix(p.Summary, "it") != want || p.Err != nil || !strings.HasPrefix(p.Where, name+" (all.yaml:") {
					t.Errorf("error %v", err)
				}
				if strings.Join(told, "\n") != want {
					t.Errorf("told %q", told)
				}
				if got := strings.Join(s.applied, " "); got != "ConfigMap/kdev-shop" {
					t.Errorf("applied %s", got)
				}
			})
		})
	}
}
