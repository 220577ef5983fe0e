package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/embedded"
)

// load gives the registry's image to the engine, if it does not have it.
// Nothing is pulled: the image is one program.
func (e *ensurer) load(ctx context.Context) error {
	_, err := e.docker.ImageInspect(ctx, e.image())
	if err == nil {
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return err
	}
	program, err := embedded.Program(ctx, "kdev-registry", e.arch)
	if err != nil {
		return err
	}
	archive, err := imageArchive(program, e.arch, e.image())
	if err != nil {
		return fmt.Errorf("make the registry's image: %w", err)
	}
	r, err := e.docker.ImageLoad(ctx, bytes.NewReader(archive), client.ImageLoadWithQuiet(true))
	if err != nil {
		return fmt.Errorf("load the registry's image: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("load the registry's image: %w", err)
	}
	if _, err := e.docker.ImageInspect(ctx, e.image()); err != nil {
		return fmt.Errorf("load the registry's image: %w", err)
	}
	return nil
}

// imageArchive is what `docker load` reads.
func imageArchive(program []byte, arch, ref string) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeReg, Name: "kdev-registry", Mode: 0o755, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	// A volume takes owner and content from what the image has at its place.
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "store/", Mode: 0o755}); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: arch, RootFS: rootFS(img),
		Config: v1.Config{Entrypoint: []string{"/kdev-registry"}},
	})
	if err != nil {
		return nil, err
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := tarball.Write(tag, img, &out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func rootFS(img v1.Image) v1.RootFS {
	c, err := img.ConfigFile()
	if err != nil {
		return v1.RootFS{} // of an image in memory: cannot fail
	}
	return c.RootFS
}
