//go:build e2e

package deploy

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/problem"
)

// chartOf renders a chart of one template.
func chartOf(t *testing.T, template string) []*Object {
	t.Helper()
	root := project(t, map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n", "chart/templates/all.yaml": template})
	m, err := Render(t.Context(), root, []Source{{Helm: &Chart{Chart: "chart", Release: "dev", Namespace: "shop"}}})
	if err != nil {
		t.Fatal(err)
	}
	return m.Objects
}

const hookedChart = `apiVersion: v1
kind: ConfigMap
metadata: {name: script, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "-5", helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}}
data: {run.sh: "echo no such table; exit CODE"}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: "hook-succeeded,hook-failed"}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      volumes: [{name: v, configMap: {name: script}}]
      containers: [{name: a, image: "debian:bookworm-slim", command: [sh, /v/run.sh], env: [{name: EXIT, value: "CODE"}], volumeMounts: [{name: v, mountPath: /v}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
`

// Hooks go when their policy says so, do not run again for that, and leave their last
// words when they fail.
func TestHookDeletePolicy(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	left := func() string {
		t.Helper()
		var names []string
		jobs, err := client.Core.BatchV1().Jobs(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs.Items {
			if j.DeletionTimestamp == nil {
				names = append(names, "Job/"+j.Name)
			}
		}
		maps, err := client.Core.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{LabelSelector: partOfLabel})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range maps.Items {
			names = append(names, "ConfigMap/"+m.Name)
		}
		return strings.Join(names, " ")
	}
	well := chartOf(t, strings.ReplaceAll(hookedChart, "CODE", "0"))
	if a := apply(t, d, well); !slices.Contains(a.Created, "Job/migrate") {
		t.Errorf("%+v", a)
	}
	if got := left(); got != "ConfigMap/web" {
		t.Errorf("left: %s", got)
	}
	later := newDeployer(ns)
	spy.reset(nil)
	apply(t, later, well)
	if w := spy.writes(); len(w) > 0 {
		t.Errorf("unchanged, and wrote %v", w)
	}
	if diffs, err := newDeployer(ns).Diff(t.Context(), well); err != nil || len(diffs) > 0 {
		t.Errorf("diff: %+v, %v", diffs, err)
	}
	watched(t, later, func(live *watching) bool {
		s := later.Status(live.Namespace, well)
		return len(s) == 1 && s[0].Ready
	})
	ill := chartOf(t, strings.ReplaceAll(hookedChart, "CODE", "3"))
	_, err := newDeployer(ns).Apply(t.Context(), Copy(ill))
	if p := problem.As(err); p == nil || p.Code != "hook-job" || !strings.Contains(p.Output, "no such table") {
		t.Errorf("%v", err)
	}
	if got := left(); got != "ConfigMap/script ConfigMap/web" {
		t.Errorf("left of what failed: %s", got)
	}
	if a := apply(t, newDeployer(ns), well); !slices.Contains(append(a.Created, a.Recreated...), "Job/migrate") {
		t.Errorf("a hook that changed did not run: %+v", a)
	}
	if got := left(); got != "ConfigMap/web" {
		t.Errorf("left in the end: %s", got)
	}
}

// A hook runs again when only what another hook gives it to read has changed.
func TestHookDataChanged(t *testing.T) {
	d := deployer(t)
	const chart = `apiVersion: v1
kind: ConfigMap
metadata: {name: script, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "-1"}}
data: {run: "exit CODE # TEXT"}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: "pre-install,pre-upgrade"}}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: a, image: "debian:bookworm-slim", command: [sh, -c, "eval \"$RUN\""], env: [{name: RUN, valueFrom: {configMapKeyRef: {name: script, key: run}}}]}]}}}
`
	run := func(code, text string) (string, error) {
		t.Helper()
		_, err := newDeployer(d.options.Namespace).Apply(t.Context(), chartOf(t, strings.NewReplacer("CODE", code, "TEXT", text).Replace(chart)))
		job, missing := client.Core.BatchV1().Jobs(d.options.Namespace).Get(t.Context(), "migrate", metav1.GetOptions{})
		if missing != nil {
			t.Fatal(missing)
		}
		return string(job.UID), err
	}
	first, err := run("0", "one")
	if err != nil {
		t.Fatal(err)
	}
	if same, err := run("0", "one"); err != nil || same != first {
		t.Errorf("unchanged, and ran again: %v", err)
	}
	diffs, err := newDeployer(d.options.Namespace).Diff(t.Context(), chartOf(t, strings.NewReplacer("CODE", "0", "TEXT", "two").Replace(chart)))
	if err != nil || len(diffs) != 2 || diffs[1].Kind != "Job" || diffs[1].Change != Recreate || !strings.Contains(diffs[1].Why, "runs again") {
		t.Errorf("a diff before it runs again: %+v, %v", diffs, err)
	}
	second, err := run("0", "two")
	if err != nil || second == first {
		t.Errorf("changed, and did not run: %v", err)
	}
	failed, err := run("3", "three")
	if p := problem.As(err); p == nil || p.Code != "hook-job" || failed == second {
		t.Errorf("a script that fails: %v", err)
	}
	if same, err := run("3", "three"); err == nil || same != failed {
		t.Errorf("what failed ran again, unchanged: %v", err)
	}
	if mended, err := run("0", "four"); err != nil || mended == failed {
		t.Errorf("mended, and did not run: %v", err)
	}
}

// A hook that does not end is given up, with what it is.
func TestHookTimeout(t *testing.T) {
	d := deployer(t)
	d.options.HookTimeout = 2 * time.Second
	slow := chartOf(t, strings.NewReplacer("CODE", "0", "[sh, /v/run.sh]", "[sleep, infinity]").Replace(hookedChart))
	_, err := d.Apply(t.Context(), Copy(slow))
	if p := problem.As(err); p == nil || p.Code != "hook-job" || p.Class != problem.Timeout || !strings.Contains(p.Summary, "2s") {
		t.Errorf("%v", err)
	}
}
