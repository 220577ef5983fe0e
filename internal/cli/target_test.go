package cli

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
)

// TestARegistryOfTheClusterThatIsNotUsed: the store takes the place of one that is down or
// that nobody can read of, with one warning that says what to do.
func TestARegistryOfTheClusterThatIsNotUsed(t *testing.T) {
	alive := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer alive.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	for name, c := range map[string]struct {
		text   string
		used   bool
		warned string
		silent []string
	}{
		"none":          {"", false, "", nil},
		"alive":         {"host: " + host(alive), true, "", nil},
		"down":          {"host: " + host(dead) + "\nhostFromContainerRuntime: reg:5000", false, "registry-hosting-silent", []string{host(dead), "reg:5000"}},
		"torn":          {"host: [oops", false, "registry-hosting-invalid", nil},
		"quoted":        {`"host: [oops"`, false, "registry-hosting-invalid", nil},
		"no mapping":    {"just a string", false, "registry-hosting-invalid", nil},
		"without hosts": {"help: me", false, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			kc := &kube.Client{Core: fake.NewSimpleClientset()}
			if c.text != "" {
				kc.Core = fake.NewSimpleClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "local-registry-hosting", Namespace: "kube-public"}, Data: map[string]string{"localRegistryHosting.v1": c.text}})
			}
			var told []session.Notice
			target, silent, err := targetOf(t.Context(), &config.Project{}, &cluster.Cluster{Nodes: []string{"node"}}, kc, func(n session.Notice) { told = append(told, n) })
			if err != nil || (target != nil) != c.used || !slices.Equal(silent, c.silent) {
				t.Errorf("%+v, %q, %v", target, silent, err)
			}
			if c.warned == "" && len(told) > 0 || c.warned != "" && (len(told) != 1 || told[0].Level != session.Warn || told[0].Code != c.warned || told[0].Problem == nil || told[0].Problem.Hint == "") {
				t.Errorf("told %+v", told)
			}
		})
	}
}
