package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// Logins are what nodes need to pull private images of others.
type Logins struct {
	Config  []byte          // docker's configuration with the logins; nil where none is needed
	Refs    map[string]bool // images that cannot be pulled without them
	Secrets []string        // what nobody should see
	// Opens are the same logins for the repositories of those images alone.
	Opens []pullthrough.Login
}

// privateKind is the folder of the store that remembers which repositories are
// private: without a network nothing else would say so, and pods would be replaced.
const privateKind = "private"

const (
	askingTakes  = 3 * time.Second
	keysTake     = 15 * time.Second // a credential helper may ask the person
	knownFor     = 24 * time.Hour   // a repository is asked again after that
	hubHost      = "index.docker.io"
	hubInConfigs = "https://index.docker.io/v1/"
)

// Logins finds those of refs that the person is logged in for (docker login,
// credential helpers) and that nobody can pull without. Registries that the
// person has no login for are not asked anything. What is returned beside an error
// lacks the registries that the error names.
func (s *Store) Logins(ctx context.Context, refs []string, keychain authn.Keychain) (Logins, error) {
	byHost := map[string][]name.Reference{}
	for _, ref := range refs {
		if named, err := name.ParseReference(ref); err == nil { // else the API server says so
			host := named.Context().RegistryStr()
			byHost[host] = append(byHost[host], named)
		}
	}
	out := Logins{Refs: map[string]bool{}}
	auths := map[string]login{}
	var failed []error
	var mu sync.Mutex
	var asking sync.WaitGroup
	for host, images := range byHost {
		asking.Go(func() {
			auth, err := keysOf(ctx, keychain, images[0].Context())
			if err != nil {
				mu.Lock()
				failed = append(failed, fmt.Errorf("the login for %s: %w", host, err))
				mu.Unlock()
				return
			}
			if auth.Username == "" || auth.Password == "" {
				return
			}
			var private []string
			var opens []pullthrough.Login
			for _, image := range images {
				if s.private(ctx, image, auth) {
					private = append(private, image.String())
					opens = append(opens, pullthrough.Login{Host: host, Repository: image.Context().RepositoryStr(), Username: auth.Username, Password: auth.Password})
				}
			}
			if len(private) == 0 {
				return
			}
			if host == hubHost {
				host = hubInConfigs
			}
			mu.Lock()
			defer mu.Unlock()
			for _, ref := range private {
				out.Refs[ref] = true
			}
			out.Opens = append(out.Opens, opens...)
			pair := base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password))
			auths[host] = login{auth.Username, auth.Password, pair}
			out.Secrets = append(out.Secrets, auth.Password, pair)
		})
	}
	asking.Wait()
	failed = append(failed, ctx.Err())
	if len(auths) == 0 {
		return out, errors.Join(failed...)
	}
	// A map is marshalled with sorted keys: the same Secret each time.
	var err error
	out.Config, err = json.Marshal(map[string]any{"auths": auths})
	return out, errors.Join(append(failed, err)...)
}

// A login is one of docker's configuration.
type login struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Auth     string `json:"auth,omitempty"`
}

// keysOf asks the keychain, which may start a credential helper, and does not wait for
// one that hangs, as that of a locked key does: it goes on alone until its process ends.
func keysOf(ctx context.Context, keychain authn.Keychain, of authn.Resource) (authn.AuthConfig, error) {
	type answer struct {
		config authn.AuthConfig
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		auth, err := keychain.Resolve(of)
		if err != nil {
			answered <- answer{err: err}
			return
		}
		c, err := auth.Authorization()
		if err != nil || c == nil {
			answered <- answer{err: err}
			return
		}
		answered <- answer{config: *c}
	}()
	limit := time.NewTimer(keysTake)
	defer limit.Stop()
	select {
	case a := <-answered:
		return a.config, a.err
	case <-limit.C:
		return authn.AuthConfig{}, fmt.Errorf("the credential helper has not answered for %s", keysTake)
	case <-ctx.Done():
		return authn.AuthConfig{}, ctx.Err()
	}
}

// private says whether the image can be pulled with the login and not without, as far
// as its registry answers, else as its repository answered before. That it is refused
// without one is not enough: registries hide what is private as if it were not there, so
// a tag with a typing mistake looks the same.
func (s *Store) private(ctx context.Context, ref name.Reference, auth authn.AuthConfig) bool {
	sum := sha256.Sum256([]byte(ref.Context().Name()))
	key := hex.EncodeToString(sum[:])
	var known struct {
		Private bool      `json:"private"`
		Asked   time.Time `json:"asked"`
	}
	if raw, err := s.Meta(privateKind, key); err == nil && json.Unmarshal(raw, &known) == nil && s.Now().Sub(known.Asked) < knownFor {
		return known.Private
	}
	ctx, cancel := context.WithTimeout(ctx, askingTakes)
	defer cancel()
	head := func(as authn.Authenticator) error {
		_, err := remote.Head(ref, remote.WithContext(ctx), remote.WithAuth(as))
		return err
	}
	err := head(authn.Anonymous)
	if refused(err) {
		if err = head(authn.FromConfig(auth)); err == nil {
			known.Private = true
		} else if refused(err) {
			return false // it is not there, or this login does not help: asked again
		}
	} else {
		known.Private = known.Private && err != nil
	}
	if err != nil {
		return known.Private
	}
	known.Asked = s.Now()
	if raw, err := json.Marshal(known); err == nil {
		_ = s.PutMeta(privateKind, key, raw) // else it is asked again
	}
	return known.Private
}

// refused reports whether a registry answered that it does not give the image.
func refused(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && (e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden || e.StatusCode == http.StatusNotFound)
}
