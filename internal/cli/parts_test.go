package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// aServerThatRefuses answers all but its version with 403.
func aServerThatRefuses(t *testing.T, platform string) *kube.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/version" && platform != "" {
			_ = json.NewEncoder(w).Encode(apiversion.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2", Platform: platform})
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonForbidden, Code: 403, Message: "nodes is forbidden"})
	}))
	t.Cleanup(server.Close)
	core, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return &kube.Client{Core: core, Context: "kind-shop", Server: server.URL}
}

// Who may not list nodes builds for the platform of the API server.
func TestNodePlatformOfAUserOfOneNamespace(t *testing.T) {
	got, err := nodePlatform(t.Context(), aServerThatRefuses(t, "linux/arm64"))
	if err != nil || got != "linux/arm64" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = nodePlatform(t.Context(), aServerThatRefuses(t, ""))
	if p := problem.As(err); p == nil || p.Code != "rbac-denied" {
		t.Errorf("%v", err)
	}
}
