package assemble

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// An Engine does what this package cannot; nil is a machine without one.
type Engine interface {
	// Pulls says whether it holds no images of its own, and pulls them as this process
	// would: then this process tries first.
	Pulls() bool
	// ImageID is the engine's own ID of an image that it holds, or "".
	ImageID(ctx context.Context, ref string) string
	// ImageConfig is the configuration document of an image that it holds or can pull.
	ImageConfig(ctx context.Context, ref, platform string) ([]byte, error)
	// Take puts an image that it holds into the store, in repo under tag, and
	// returns its manifest's digest.
	Take(ctx context.Context, ref, platform, repo, tag string) (string, error)
	// Solve runs BuildKit's steps and puts the resulting layers into the
	// store; the digest is of an image that consists of them.
	Solve(ctx context.Context, s Solve) (string, error)
	// Version is that of its BuildKit.
	Version(ctx context.Context) (Version, error)
	// Offer lets it begin with an image of the store, which goes into repo.
	Offer(ctx context.Context, repo string, manifest []byte) (Given, error)
}

// bases are the images that Dockerfiles begin with. What is learned about one
// is kept beside the store, so that the next build needs no engine for it.
type bases struct {
	store    *registry.Store
	engine   Engine
	platform string
	by       string           // the engine, for people
	given    map[string]Given // by full reference

	mu   sync.Mutex
	seen map[string]*base
}

// A base is an image of FROM or COPY --from.
type base struct {
	Ref      string          `json:"ref"`
	ID       string          `json:"id,omitempty"` // the engine's, when it was looked at
	Config   json.RawMessage `json:"config"`
	Manifest string          `json:"manifest,omitempty"` // in the store; "": only the configuration is known
}

// baseKind is the folder of the store that remembers bases.
const baseKind = "bases"

func (b *bases) key(ref string) string {
	h := sha256.Sum256([]byte(ref + "\x00" + b.platform))
	return hex.EncodeToString(h[:])
}

// get returns what is known about a base: remembered, unless the engine by
// now holds another image of that name.
func (b *bases) get(ctx context.Context, ref string) (*base, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.seen[ref]; known != nil {
		return known, nil
	}
	if g, ok := b.given[ref]; ok {
		config, err := configOf(b.store, g.Digest)
		if err != nil {
			return nil, err
		}
		// Not kept: the next build may be given another one.
		b.seen[ref] = &base{Ref: ref, Config: config, Manifest: g.Digest}
		return b.seen[ref], nil
	}
	id := ""
	if b.engine != nil {
		id = b.engine.ImageID(ctx, ref)
	}
	if known := b.recall(ref); known != nil && (id == "" || id == known.ID) {
		b.seen[ref] = known
		return known, nil
	}
	fresh := &base{Ref: ref, ID: id}
	var err error
	if fresh.Config, err = b.config(ctx, ref); err != nil {
		return nil, err
	}
	return fresh, b.keep(fresh)
}

// config asks who knows the image: first who may hold it.
func (b *bases) config(ctx context.Context, ref string) ([]byte, error) {
	if b.engine == nil {
		return b.pullConfig(ctx, ref)
	}
	if b.engine.Pulls() {
		config, err := b.pullConfig(ctx, ref)
		if err == nil || ctx.Err() != nil {
			return config, err
		}
		// It may know a mirror, or another network.
		config, other := b.engine.ImageConfig(ctx, ref, b.platform)
		if other != nil {
			return nil, fmt.Errorf("%w; %s: %w", err, b.by, other)
		}
		return config, nil
	}
	config, err := b.engine.ImageConfig(ctx, ref, b.platform)
	if p := problem.As(err); p != nil && p.Code == "engine-missing" {
		config, pulled := b.pullConfig(ctx, ref)
		if pulled != nil && ctx.Err() == nil {
			return nil, &noEngine{pulled, p.Err}
		}
		return config, pulled
	}
	return config, err
}

// A noEngine is an image that cannot be pulled from here, where no engine could be
// asked for it.
type noEngine struct{ pull, engine error }

func (e *noEngine) Error() string {
	if e.engine == nil {
		return e.pull.Error() + "; no engine answers"
	}
	return fmt.Sprintf("%v; the engine: %v", e.pull, e.engine)
}

func (e *noEngine) Unwrap() error { return e.pull }

// normalized has the full references, as the frontend asks for them.
func normalized(given map[string]Given) map[string]Given {
	out := make(map[string]Given, len(given))
	for base, g := range given {
		if named, err := reference.ParseNormalizedNamed(base); err == nil {
			out[reference.TagNameOnly(named).String()] = g
		}
	}
	return out
}

// configOf is the configuration document of an image of the store.
func configOf(store *registry.Store, digest string) (json.RawMessage, error) {
	raw, err := store.ReadBlob(layout.Digest(digest))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	if m.Config == nil {
		return nil, fmt.Errorf("image %s: %w", digest, fs.ErrInvalid)
	}
	return store.ReadBlob(m.Config.Digest)
}

// recall is what was remembered; nil where nothing was.
func (b *bases) recall(ref string) *base {
	raw, err := b.store.Meta(baseKind, b.key(ref))
	if err != nil {
		return nil
	}
	var known base
	if json.Unmarshal(raw, &known) != nil || known.Ref != ref {
		return nil
	}
	return &known
}

func (b *bases) keep(k *base) error {
	raw, err := json.Marshal(k)
	if err != nil {
		return err
	}
	b.seen[k.Ref] = k
	return b.store.PutMeta(baseKind, b.key(k.Ref), raw)
}

// base is the part of the configuration that a Dockerfile's lines depend on.
func (k *base) base() (dockerfile.Base, bool) {
	var doc struct {
		Config struct {
			WorkingDir string
			Env        []string
			OnBuild    []string
		} `json:"config"`
	}
	if json.Unmarshal(k.Config, &doc) != nil {
		return dockerfile.Base{}, false
	}
	out := dockerfile.Base{Workdir: doc.Config.WorkingDir, Env: map[string]string{}, OnBuild: doc.Config.OnBuild}
	for _, kv := range doc.Config.Env {
		name, value, _ := strings.Cut(kv, "=")
		out.Env[name] = value
	}
	return out, true
}

// known is the identity of a base that get returned before.
func (b *bases) known(ref string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.seen[ref]
	if k == nil {
		return "", fmt.Errorf("image %s was not resolved", ref)
	}
	h := sha256.Sum256(k.Config)
	return hex.EncodeToString(h[:]), nil
}

// manifest is the base's manifest in the store, put there if it is not yet.
func (b *bases) manifest(ctx context.Context, ref string) (string, error) {
	k, err := b.get(ctx, ref)
	if err != nil {
		return "", err
	}
	if k.Manifest != "" {
		err := b.store.Complete(layout.Digest(k.Manifest))
		if err == nil {
			return k.Manifest, nil
		}
		var absent *layout.AbsentError // else a collector took the image
		if errors.As(err, &absent) {
			b.store.Lost(absent.Digest, err)
		}
	}
	n, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", ref, err)
	}
	repo := registry.MirrorRepository(n.Context().RegistryStr(), n.Context().RepositoryStr())
	tag := n.Identifier()
	if strings.HasPrefix(tag, "sha256:") {
		tag = ""
	}
	if b.engine != nil && k.ID != "" {
		k.Manifest, err = b.engine.Take(ctx, ref, b.platform, repo, tag)
	} else {
		k.Manifest, err = b.pull(ctx, n, repo, tag)
	}
	if err != nil && b.engine != nil && b.engine.Pulls() && ctx.Err() == nil {
		var other error
		if k.Manifest, other = b.engine.Take(ctx, ref, b.platform, repo, tag); other == nil {
			err = nil
		} else {
			err = fmt.Errorf("%w; %s: %w", err, b.by, other)
		}
	}
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return k.Manifest, b.keep(k)
}

func (b *bases) remote(ctx context.Context, n name.Reference) (v1.Image, error) {
	p, err := v1.ParsePlatform(b.platform)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(n, remote.WithContext(ctx), remote.WithPlatform(*p), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", n, err)
	}
	return img, nil
}

func (b *bases) pullConfig(ctx context.Context, ref string) ([]byte, error) {
	n, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	img, err := b.remote(ctx, n)
	if err != nil {
		return nil, err
	}
	return img.RawConfigFile()
}

func (b *bases) pull(ctx context.Context, n name.Reference, repo, tag string) (string, error) {
	img, err := b.remote(ctx, n)
	if err != nil {
		return "", err
	}
	d, err := b.store.PutImage(ctx, repo, tag, img)
	return d.String(), err
}

// Image is the manifest of an image of others in the store, put there if it is
// not yet: by the engine that holds it, else from its registry.
func Image(ctx context.Context, store *registry.Store, engine Engine, platform, ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", ref, err)
	}
	b := &bases{store: store, engine: engine, platform: platform, seen: map[string]*base{}}
	manifest, err := b.manifest(ctx, reference.TagNameOnly(named).String())
	if err == nil || ctx.Err() != nil || problem.As(err) != nil {
		return manifest, err
	}
	return "", b.problem(&noBase{ref, err})
}

// problem says what helps where an image cannot be had.
func (b *bases) problem(missing *noBase) *problem.Problem {
	p := &problem.Problem{Code: "build-failed", Summary: "the image " + missing.ref + " cannot be had", Err: missing.cause}
	var away *noEngine
	switch {
	case errors.As(missing.cause, &away) && errors.Is(away.engine, fs.ErrPermission) || away != nil && strings.Contains(away.Error(), "permission denied"):
		p.Hint = "let yourself use the engine's socket, which may hold the image (on Linux the group docker; `docker info` says whether it works)"
	case away != nil:
		p.Hint = "start Docker, or set DOCKER_HOST to the address of an engine that has the image; without one it is pulled from its registry, and `docker login` helps with a private one"
	case b.engine != nil && b.engine.Pulls():
		p.Hint = "is its name right? It is pulled from its registry, from here or by " + b.by + "; `docker login` helps with a private one"
	default:
		p.Hint = "is its name right? `docker pull " + missing.ref + "` says what the engine can do; `docker login` helps with a private one"
	}
	return p
}

// layers are those of an image of the store, bottom first.
func layers(store *registry.Store, manifest string) ([]layer, error) {
	raw, err := store.ReadBlob(layout.Digest(manifest))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", manifest, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", manifest, err)
	}
	if m.Config == nil {
		return nil, fmt.Errorf("image %s: %w", manifest, fs.ErrInvalid)
	}
	raw, err = store.ReadBlob(m.Config.Digest)
	if err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", manifest, err)
	}
	var config struct {
		RootFS struct {
			DiffIDs []layout.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", manifest, err)
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("image %s has %d layers and %d diff IDs", manifest, len(m.Layers), len(config.RootFS.DiffIDs))
	}
	out := make([]layer, len(m.Layers))
	for i, d := range m.Layers {
		out[i] = layer{d, config.RootFS.DiffIDs[i]}
	}
	return out, nil
}
