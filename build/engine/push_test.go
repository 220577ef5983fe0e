package engine

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/distribution"
)

// What the registry says to the engine is what the person reads.
func TestPushProblems(t *testing.T) {
	for message, code := range map[string]string{
		"denied: " + distribution.Full:                         "store-full",
		"dial tcp 127.0.0.1:5001: connect: connection refused": "push-failed",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/push") {
				fmt.Fprintf(w, "{\"status\":\"Preparing\",\"id\":\"a\"}\n{\"errorDetail\":{\"message\":%q},\"error\":%q}\n", message, message)
			}
		}))
		docker, err := client.New(client.WithHost("tcp://"+server.Listener.Addr().String()), client.WithAPIVersion("1.44"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = New(docker).Push(t.Context(), "127.0.0.1:5001/shop/web:x", "token")
		if p := problem.As(err); p == nil || p.Code != code {
			t.Errorf("%s: %v", message, err)
		}
		docker.Close()
		server.Close()
	}
}
