package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Logins are what nodes need to pull private images of others.
type Logins struct {
	Config  []byte          // docker's configuration with the logins; nil where none is needed
	Refs    map[string]bool // images that cannot be pulled without them
	Secrets []string        // what nobody should see
}

// privateKind is the folder of the store that remembers which repositories are
// private: without a network nothing else would say so, and pods would be replaced.
const privateKind = "private"

const (
	askingTakes  = 3 * time.Second
	publicFor    = 24 * time.Hour // a repository that was public is asked again after that
	hubHost      = "index.docker.io"
	hubInConfigs = "https://index.docker.io/v1/"
)

// Logins finds those of refs that the person is logged in for (docker login,
// credential helpers) and that nobody can pull without. Registries that the
// person has no login for are not asked anything.
func (s *Store) Logins(ctx context.Context, refs []string, keychain authn.Keychain) (Logins, error) {
	type login struct {
		Username string `json:"username,omitempty"`
		Password string `json:"password,omitempty"`
		Auth     string `json:"auth,omitempty"`
	}
	out := Logins{Refs: map[string]bool{}}
	auths := map[string]login{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, ref := range refs {
		named, err := name.ParseReference(ref)
		if err != nil {
			continue // the API server says so
		}
		asking.Go(func() {
			auth, err := authn.Resolve(ctx, keychain, named.Context())
			if err != nil || auth == authn.Anonymous {
				return
			}
			c, err := authn.Authorization(ctx, auth)
			if err != nil || c.Username == "" || c.Password == "" || !s.private(ctx, named) {
				return
			}
			host := named.Context().RegistryStr()
			if host == hubHost {
				host = hubInConfigs
			}
			mu.Lock()
			defer mu.Unlock()
			out.Refs[ref] = true
			pair := base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
			auths[host] = login{c.Username, c.Password, pair}
			out.Secrets = append(out.Secrets, c.Password, pair)
		})
	}
	asking.Wait()
	if len(auths) == 0 || ctx.Err() != nil {
		return out, ctx.Err()
	}
	// A map is marshalled with sorted keys: the same Secret each time.
	var err error
	out.Config, err = json.Marshal(map[string]any{"auths": auths})
	return out, err
}

// private says whether the image cannot be pulled without a login, as far as
// its registry answers, else as it answered before.
func (s *Store) private(ctx context.Context, ref name.Reference) bool {
	sum := sha256.Sum256([]byte(ref.Context().Name()))
	key := hex.EncodeToString(sum[:])
	var known struct {
		Private bool      `json:"private"`
		Asked   time.Time `json:"asked"`
	}
	if raw, err := s.Meta(privateKind, key); err == nil && json.Unmarshal(raw, &known) == nil {
		if known.Private || s.Now().Sub(known.Asked) < publicFor {
			return known.Private
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askingTakes)
	defer cancel()
	_, err := remote.Head(ref, remote.WithContext(ctx), remote.WithAuth(authn.Anonymous))
	var refused *transport.Error
	switch {
	case err == nil:
		known.Private = false
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden || refused.StatusCode == http.StatusNotFound):
		known.Private = true // registries hide what is private as if it were not there
	default:
		return known.Private
	}
	known.Asked = s.Now()
	if raw, err := json.Marshal(known); err == nil {
		_ = s.PutMeta(privateKind, key, raw) // else it is asked again
	}
	return known.Private
}
