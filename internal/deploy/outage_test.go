package deploy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/problem"
)

const aggregated = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.example.com}
spec: {group: example.com, version: v1}
status: {conditions: [{type: Available, status: "STATUS", message: no endpoints for service}]}
`

// Where the API server answers and one API that another program serves does not, that one is
// named, after it had its time.
func TestUnavailableAPI(t *testing.T) {
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
	for _, tc := range []struct {
		name, status string
		back         time.Duration // 0: never
		code         string
	}{
		{"gone", "False", 0, "apiservice-unavailable"},
		{"back in time", "False", 10 * time.Second, ""},
		{"all are served", "True", 0, "cluster-unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := liveOf(t, strings.Replace(aggregated, "STATUS", tc.status, 1))[0]
				d, s := stubbed(t, "", service)
				begin := time.Now()
				s.refuse = func(u *unstructured.Unstructured, _ metav1.PatchOptions) error {
					if u.GetName() != "settings" || tc.back > 0 && time.Since(begin) >= tc.back {
						return nil
					}
					return apierrors.NewServiceUnavailable("error trying to reach service: no endpoints")
				}
				if tc.back > 0 {
					time.AfterFunc(tc.back, func() {
						up := liveOf(t, strings.Replace(aggregated, "STATUS", "True", 1))[0]
						if err := s.Tracker().Update(apiServices, up, ""); err != nil {
							t.Error(err)
						}
					})
				}
				var told []string
				d.Tell(func(line string) { told = append(told, line) })
				_, err := d.Apply(t.Context(), parse(t, config))
				p := problem.As(err)
				if tc.code == "" && err != nil || tc.code != "" && (p == nil || p.Code != tc.code) {
					t.Errorf("error %v", err)
				}
				named := strings.Contains(strings.Join(told, "\n"), "APIService/v1.example.com does not answer: waiting for it")
				if named != (tc.status == "False") {
					t.Errorf("told %q", told)
				}
				if tc.code == "apiservice-unavailable" && (p.Where != "APIService/v1.example.com" || p.Err.Error() != "no endpoints for service") {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

// What is made in a namespace that is being deleted is not forbidden to a person.
func TestNamespaceTerminating(t *testing.T) {
	d, s := stubbed(t, "")
	s.refuse = func(u *unstructured.Unstructured, _ metav1.PatchOptions) error {
		if u.GetName() != "settings" {
			return nil
		}
		err := apierrors.NewForbidden(configMaps.GroupResource(), "settings", nil)
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause, Message: "namespace other is being terminated", Field: "metadata.namespace"}}
		return err
	}
	_, err := d.Apply(t.Context(), parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: other}\n"))
	if p := problem.As(err); p == nil || p.Code != "namespace-terminating" || !strings.Contains(p.Error(), "namespace other is being terminated") {
		t.Errorf("error %v", err)
	}
}
