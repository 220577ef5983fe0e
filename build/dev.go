package build

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/embedded"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

// Agent is where the agent is in a dev image, and AgentLabel the label that
// says which one.
const (
	Agent      = "/.kdev/agent"
	AgentLabel = "dev.kdev.agent"
)

// dev gives a Spec with Dev the image with the agent, made from the production
// image by a new manifest and configuration.
//
// The agent is the bottom layer: its snapshot on a node has no parent, so it is
// the same for all images and never fetched again. On top, it would get a new
// chain ID with every change below it. On top lies at most a small layer that
// lets the container's user write where files are synced to.
func dev(inner Builder, store *registry.Store, ep *registry.Endpoint, idx *tree.Index) Builder {
	return &devBuilder{inner: inner, store: store, ep: ep, idx: idx, agent: agent{embedded.ID, embedded.Program}}
}

type devBuilder struct {
	inner Builder
	store *registry.Store
	ep    *registry.Endpoint
	idx   *tree.Index
	agent agent
	trees assemble.Trees
}

// An agent is where the program comes from; a test has its own.
type agent struct {
	id      func(ctx context.Context, name, arch string) (string, error)
	program func(ctx context.Context, name, arch string) ([]byte, error)
}

func (b *devBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	r, err := b.inner.Build(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	d, err := openImage(b.store, r.Digest)
	if err != nil {
		return nil, err
	}
	if r.Record == nil {
		r.Record = &Record{}
	}
	r.Record.Config = d.startConfig()
	if !spec.Dev {
		return r, nil
	}
	top, err := b.writable(ctx, spec, d, r.Digest, r.Record.Outputs)
	if err != nil {
		return nil, fmt.Errorf("make the folders of %s writable: %w", spec.Service, err)
	}
	digest, err := b.derive(ctx, spec, d, top)
	if err != nil {
		return nil, fmt.Errorf("add the agent to %s: %w", spec.Service, err)
	}
	r.Digest = digest
	return r, nil
}

// derive writes the dev image of d; top is a layer on top, if there is one.
func (b *devBuilder) derive(ctx context.Context, spec Spec, d *imageDoc, top *layout.Descriptor) (string, error) {
	id, err := b.agent.id(ctx, "kdev-agent", spec.arch())
	if err != nil {
		return "", err
	}
	l, err := b.agentLayer(ctx, spec.arch(), id)
	if err != nil {
		return "", err
	}
	if err := d.prepend(l, l.Digest, "kdev agent "+id); err != nil {
		return "", err
	}
	if top != nil {
		if err := d.add(*top, top.Digest, "kdev folders of the container's user"); err != nil {
			return "", err
		}
	}
	entrypoint := append(AgentCommand(), d.list("Entrypoint")...)
	if err := d.set("Entrypoint", entrypoint); err != nil {
		return "", err
	}
	labels := map[string]string{}
	if raw, ok := d.config["Labels"]; ok {
		if err := json.Unmarshal(raw, &labels); err != nil {
			return "", err
		}
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[AgentLabel] = id
	if err := d.set("Labels", labels); err != nil {
		return "", err
	}
	manifest, err := d.write(b.store)
	if err != nil {
		return "", err
	}
	digest := string(layout.DigestOf(manifest))
	repo, tag := spec.Repository(), registry.Short(digest)
	if e, err := b.store.Resolve(repo, tag); err == nil && string(e.Digest) == digest && b.store.Store.Has(e.Digest, e.Size) {
		return digest, b.ep.Publish(ctx, b.store, repo, tag, digest)
	}
	if _, err := b.store.PutPartialManifest(repo, tag, layout.OCIManifest, manifest); err != nil {
		return "", err
	}
	return digest, b.ep.Publish(ctx, b.store, repo, tag, digest)
}

// agentKind is the folder of the store that remembers the agent's layers.
const agentKind = "agents"

// agentLayer is the descriptor of the layer that holds the agent, uncompressed:
// its digest is its diff ID, and nobody ever unpacks it twice.
func (b *devBuilder) agentLayer(ctx context.Context, arch, id string) (layout.Descriptor, error) {
	key := arch + "-" + id
	if raw, err := b.store.Meta(agentKind, key); err == nil {
		var l layout.Descriptor
		if json.Unmarshal(raw, &l) == nil {
			if b.store.Store.Has(l.Digest, l.Size) {
				return l, nil
			}
			b.store.Lost(l.Digest, nil)
		}
	}
	program, err := b.agent.program(ctx, "kdev-agent", arch)
	if err != nil {
		return layout.Descriptor{}, err
	}
	content, err := agentTar(program)
	if err != nil {
		return layout.Descriptor{}, err
	}
	l := layout.Descriptor{MediaType: ociLayer, Size: int64(len(content))}
	if l.Digest, err = b.store.PutBlob(content); err != nil {
		return layout.Descriptor{}, err
	}
	raw, err := json.Marshal(l)
	if err != nil {
		return layout.Descriptor{}, err
	}
	return l, b.store.PutMeta(agentKind, key, raw)
}

func agentTar(program []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: ".kdev/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: ".kdev/agent", Mode: 0o755, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
