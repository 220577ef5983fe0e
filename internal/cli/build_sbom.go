package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/sbom"
	"github.com/kdev-io/kdev/internal/session"
)

// describe writes what software the images of a service hold, one file for each
// platform, and attaches it where they were pushed.
func (m *maker) describe(ctx context.Context, spec build.Spec, results []*build.Result, out *madeImage) error {
	for i, r := range results {
		spec.Platform = m.o.platforms[i]
		if err := m.endpoint.Pull(ctx, m.store, spec.Repository(), r.Digest); err != nil {
			return err
		}
		img, err := m.store.Image(spec.Repository(), r.Digest)
		if err != nil {
			return err
		}
		packages, err := sbom.Scan(ctx, img)
		if err != nil {
			return fmt.Errorf("list the software in %s: %w", out.Service, err)
		}
		doc, err := sbom.SPDX(sbom.About{Name: spec.Repository(), Digest: r.Digest, Platform: spec.PlatformName(), Tool: "kdev-" + Version()}, packages)
		if err != nil {
			return err
		}
		name := out.Service
		if len(results) > 1 {
			name += "-" + strings.ReplaceAll(spec.PlatformName(), "/", "-")
		}
		file := filepath.Join(m.o.folder(), name+".spdx.json")
		if err := os.WriteFile(file, doc, 0o644); err != nil {
			return fmt.Errorf("write --sbom: %w", err)
		}
		out.SBOM = append(out.SBOM, filepath.Base(file))
		m.tell(session.Notice{Level: session.Done, Service: out.Service, Text: fmt.Sprintf("%d packages listed in %s", len(packages), filepath.Base(file))})
		if m.o.push == "" {
			continue
		}
		if err := m.store.Attach(ctx, r.Digest, m.o.repository(out.Service), sbom.MediaType, doc); err != nil {
			return err
		}
	}
	return nil
}

// folder is where files about images go: beside that of --out.
func (o *buildOptions) folder() string {
	if o.out == "" {
		return o.env.Dir
	}
	return filepath.Dir(o.file(o.out))
}
