package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// loggedIn is a person's logins by registry.
type loggedIn map[string]authn.AuthConfig

func (l loggedIn) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if c, ok := l[r.RegistryStr()]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}

// keys is a credential helper.
type keys func() (authn.Authenticator, error)

func (k keys) Resolve(authn.Resource) (authn.Authenticator, error) { return k() }

func TestLogins(t *testing.T) {
	var away atomic.Bool
	var asked atomic.Int32
	// A registry that wants a login below /private.
	inner, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	handler := Handler(inner, HandlerOptions{Token: "x"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case away.Load():
			http.Error(w, "away", http.StatusBadGateway)
			return
		case r.Method == http.MethodHead:
			asked.Add(1)
		case r.URL.Path == "/v2/" && password == "secret":
			w.WriteHeader(http.StatusOK)
			return
		}
		if (r.URL.Path == "/v2/" || strings.HasPrefix(r.URL.Path, "/v2/private/")) && password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Set("Authorization", "Bearer x")
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	people := loggedIn{host: {Username: "me", Password: "secret"}}
	for _, repo := range []string{"private/web", "public/web"} {
		img, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		tag, err := name.ParseReference(host + "/" + repo + ":1")
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, img, remote.WithAuthFromKeychain(people)); err != nil {
			t.Fatal(err)
		}
	}

	store, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	refs := []string{host + "/private/web:1", host + "/public/web:1", "registry.invalid/x:1", "NOT A NAME"}
	for _, step := range []struct {
		name string
		away bool
		want int32 // questions
	}{{"first", false, 3}, {"again", false, 0}, {"without a network", true, 0}} {
		asked.Store(0)
		away.Store(step.away)
		got, err := store.Logins(t.Context(), refs, people)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Refs) != 1 || !got.Refs[refs[0]] {
			t.Errorf("%s: want a login: %v", step.name, got.Refs)
		}
		var config struct {
			Auths map[string]struct{ Username, Password, Auth string }
		}
		if err := json.Unmarshal(got.Config, &config); err != nil || config.Auths[host].Password != "secret" || config.Auths[host].Auth != "bWU6c2VjcmV0" {
			t.Errorf("%s: %s %v", step.name, got.Config, err)
		}
		if want := []pullthrough.Login{{Host: host, Repository: "private/web", Username: "me", Password: "secret"}}; !slices.Equal(got.Opens, want) {
			t.Errorf("%s: opens %+v", step.name, got.Opens)
		}
		if len(got.Secrets) != 2 || asked.Load() != step.want {
			t.Errorf("%s: %d secrets, %d questions", step.name, len(got.Secrets), asked.Load())
		}
	}
	// A tag that is not there says nothing of its repository, nor does a login that is
	// not let in.
	away.Store(false)
	store, err = OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Logins(t.Context(), []string{host + "/public/web:typo", host + "/private/web:typo"}, people)
	if err != nil || len(got.Refs) > 0 || got.Config != nil {
		t.Errorf("tags that are not there: %v, %v", got.Refs, err)
	}
	got, err = store.Logins(t.Context(), refs, loggedIn{host: {Username: "me", Password: "old"}})
	if err != nil || len(got.Refs) > 0 {
		t.Errorf("a login that is not let in: %v, %v", got.Refs, err)
	}
	got, err = store.Logins(t.Context(), refs, people)
	if err != nil || len(got.Refs) != 1 || !got.Refs[refs[0]] {
		t.Errorf("after that: %v, %v", got.Refs, err)
	}

	// A credential helper that fails is told; one that waits is left.
	got, err = store.Logins(t.Context(), refs, keys(func() (authn.Authenticator, error) { return nil, errors.New("the key is locked") }))
	if err == nil || !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), "the key is locked") || len(got.Refs) > 0 {
		t.Errorf("a helper that fails: %v, %v", got.Refs, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	_, err = store.Logins(ctx, refs[:1], keys(func() (authn.Authenticator, error) { cancel(); <-release; return authn.Anonymous, nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a helper that waits: %v", err)
	}

	got, err = store.Logins(t.Context(), refs, loggedIn{})
	if err != nil || got.Config != nil || len(got.Refs) > 0 {
		t.Errorf("without a login: %+v %v", got, err)
	}
}
