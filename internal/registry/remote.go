package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Local is the store as builders see it on a machine without an engine: what
// they make lies in it, and nobody serves it.
func Local() *Endpoint {
	return &Endpoint{Host: fmt.Sprintf("localhost:%d", hostPort.Num()), PushHost: fmt.Sprintf("127.0.0.1:%d", hostPort.Num()), Shared: true, http: newHTTP()}
}

// Known is the store under the name that pods know it by, whether it is served now
// or not: for commands that only look.
func Known(s *Store) *Endpoint {
	e := Local()
	if known := s.remembered(); known.Host != "" {
		e.Host = known.Host
		if known.Port != 0 {
			e.PushHost = fmt.Sprintf("127.0.0.1:%d", known.Port)
		}
	}
	return e
}

// Running is the store's registry where it answers although no engine does: an earlier
// Ensure started it, and the nodes know it. It is where it was then, or where the cluster
// says. nil where none answers.
func Running(ctx context.Context, s *Store, configMaps typedcorev1.ConfigMapsGetter) (*Endpoint, error) {
	token, err := s.Token()
	if err != nil {
		return nil, err
	}
	places := []remembered{s.remembered()}
	if h, err := ReadHosting(ctx, configMaps); err == nil && h != nil && h.Help == help {
		if _, port, err := net.SplitHostPort(h.Host); err == nil {
			n, _ := strconv.ParseUint(port, 10, 16)
			places = append(places, remembered{Host: h.Runtime(), Port: uint16(n)})
		}
	}
	for _, known := range places {
		if known.Host == "" || known.Port == 0 {
			continue
		}
		for _, shared := range []bool{true, false} {
			e := &ensurer{store: s, name: Name, token: token, shared: shared, known: known}
			ep := e.endpoint(known.Port)
			asking, cancel := context.WithTimeout(ctx, registryPatience)
			err := ep.ping(asking)
			if err == nil {
				err = e.probe(asking, ep)
			}
			cancel()
			if err == nil {
				return ep, nil
			}
			ep.http.CloseIdleConnections()
		}
	}
	return nil, ctx.Err()
}

// remembered is where the registry was when it was last made; zero where it never was, or
// what says so is damaged.
func (s *Store) remembered() remembered {
	var known remembered
	if raw, err := s.Meta("registry", "endpoint"); err != nil || json.Unmarshal(raw, &known) != nil {
		return remembered{}
	}
	return known
}

// Push sends an image of the store, or an index with all its images, to a
// registry elsewhere, as the user who is logged in there by docker's
// configuration and credential helpers. Layers that the repository has are not
// sent, nor those that another repository of that registry in from has: they
// are mounted. plain says that the registry is spoken with in HTTP; one of a name or an
// address that is surely local is tried so anyway.
func (s *Store) Push(ctx context.Context, digest, ref string, from []string, plain bool) error {
	var scheme []name.Option
	if plain {
		scheme = append(scheme, name.Insecure)
	}
	tag, err := name.ParseReference(ref, scheme...)
	if err != nil {
		return &problem.Problem{Class: problem.Usage, Code: "push-ref", Summary: fmt.Sprintf("%q cannot name an image", ref), Err: err, Hint: "write it as ghcr.io/acme/web:tag"}
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	raw, err := s.ReadBlob(layout.Digest(digest))
	if err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	if !m.IsIndex() {
		img, err := s.mountable(ctx, digest, tag, from, scheme)
		if err == nil {
			err = remote.Write(tag, img, opts...)
		}
		return explainPush(ctx, tag, err)
	}
	for _, d := range m.Manifests {
		img, err := s.mountable(ctx, string(d.Digest), tag, from, scheme)
		if err == nil {
			err = remote.Write(tag.Context().Digest(string(d.Digest)), img, opts...)
		}
		if err != nil {
			return explainPush(ctx, tag, err)
		}
	}
	return explainPush(ctx, tag, remote.Put(tag, manifest{raw, types.MediaType(m.MediaType)}, opts...))
}

// Attach puts a document about an image beside it in its registry, as an
// artifact that refers to it (OCI 1.1). Where the registry has no API for those,
// the tag sha256-DIGEST lists them.
func (s *Store) Attach(ctx context.Context, digest, ref, mediaType string, content []byte) error {
	to, err := name.ParseReference(ref)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ref, err)
	}
	raw, err := s.ReadBlob(layout.Digest(digest))
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ref, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ref, err)
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ref, err)
	}
	artifact, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(mediaType)),
		static.NewLayer(content, types.MediaType(mediaType)))
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ref, err)
	}
	about := mutate.Subject(artifact, v1.Descriptor{MediaType: types.MediaType(m.MediaType), Digest: h, Size: int64(len(raw))})
	own, err := about.(v1.Image).Digest()
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ref, err)
	}
	return explainPush(ctx, to, remote.Write(to.Context().Digest(own.String()), about.(v1.Image),
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)))
}

// manifest is bytes to be put as they are.
type manifest struct {
	raw []byte
	mt  types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mt, nil }

// mountable is an image of the store whose layers say where else they may be.
func (s *Store) mountable(ctx context.Context, digest string, to name.Reference, from []string, scheme []name.Option) (v1.Image, error) {
	img, err := s.Image("", digest)
	if err != nil {
		return nil, err
	}
	var sources []name.Reference
	for _, f := range from {
		ref, err := name.ParseReference(f, scheme...)
		if err == nil && ref.Context().RegistryStr() == to.Context().RegistryStr() && ref.Context() != to.Context() {
			sources = append(sources, ref)
		}
	}
	if len(sources) == 0 {
		return img, nil
	}
	puller, err := remote.NewPuller(remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, err
	}
	return mountImage{img, ctx, puller, to, sources}, nil
}

// A mountImage asks for its layers to be mounted. A layer can be mounted from one
// repository alone, so with several it is asked first which of them has it.
type mountImage struct {
	v1.Image
	ctx     context.Context
	puller  *remote.Puller
	to      name.Reference
	sources []name.Reference
}

func (m mountImage) Layers() ([]v1.Layer, error) {
	layers, err := m.Image.Layers()
	if err != nil {
		return nil, err
	}
	out := make([]v1.Layer, len(layers))
	var asked sync.WaitGroup
	for i, l := range layers {
		asked.Go(func() { out[i] = m.mounted(l) })
	}
	asked.Wait()
	return out, nil
}

// mounted is the layer, to be mounted from a source if one has it. Who may not ask a
// source may not mount from it.
func (m mountImage) mounted(l v1.Layer) v1.Layer {
	if len(m.sources) == 1 {
		return &remote.MountableLayer{Layer: l, Reference: m.sources[0]}
	}
	if m.has(m.to, l) {
		return l
	}
	for _, source := range m.sources {
		if m.has(source, l) {
			return &remote.MountableLayer{Layer: l, Reference: source}
		}
	}
	return l
}

func (m mountImage) has(repo name.Reference, l v1.Layer) bool {
	d, err := l.Digest()
	if err != nil {
		return false
	}
	there, err := m.puller.Layer(m.ctx, repo.Context().Digest(d.String()))
	if err != nil {
		return false
	}
	_, err = there.Size() // of a HEAD
	return err == nil
}

func explainPush(ctx context.Context, ref name.Reference, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	host := ref.Context().RegistryStr()
	var t *transport.Error
	if errors.As(err, &t) && (t.StatusCode == http.StatusUnauthorized || t.StatusCode == http.StatusForbidden) {
		return &problem.Problem{
			Code: "registry-unauthorized", Where: ref.String(), Summary: host + " does not let you push", Err: err,
			Hint: "log in with an account that may: docker login " + host,
		}
	}
	return &problem.Problem{
		Code: "registry-push", Where: ref.String(), Summary: "the image could not be pushed", Err: err,
		Hint: "is the registry's address right, and does it answer? `curl https://" + host + "/v2/`",
	}
}
