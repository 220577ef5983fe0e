package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/tree"
)

// projectImages are the images that the project builds, for injection, without references.
func projectImages(p *config.Project) []deploy.Image {
	var images []deploy.Image
	for _, s := range p.Services {
		if s.Build != nil {
			images = append(images, deploy.Image{Service: s.Name, Repository: s.Image})
		}
	}
	return images
}

// put gives images of p the references that are known, by service.
func put(p *config.Project, images []deploy.Image, refs map[string]string, dev bool) []deploy.Image {
	out := slices.Clone(images)
	for i := range out {
		out[i].Ref = refs[out[i].Service]
		if dev && out[i].Ref != "" {
			out[i] = inDev(p, out[i])
		}
	}
	return out
}

// inDev adds what the dev image of a service of p needs.
func inDev(p *config.Project, im deploy.Image) deploy.Image {
	i := slices.IndexFunc(p.Services, func(s config.Service) bool { return s.Name == im.Service })
	if i < 0 {
		return im
	}
	return session.InDev(im, p.Services[i])
}

// storedRefs are the images that were built before from the files as they are
// now: dev images, or those of production, as the cluster of a context ("": the one
// of the last time) pulls them. A service without one is missing.
func storedRefs(ctx context.Context, context string, p *config.Project, dev bool) (map[string]string, error) {
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	index, err := tree.Open(p.Root)
	if err != nil {
		return nil, err
	}
	defer index.Close()
	stored := build.Stored(store, registry.Known(store), index)
	refs := map[string]string{}
	from := pullsOf(store, p.Root).registry(context)
	for _, s := range p.Services {
		if s.Build == nil {
			continue
		}
		spec := session.SpecOf(p, s)
		spec.Dev = dev
		r, err := stored.Build(ctx, spec, nil)
		switch {
		case errors.Is(err, build.ErrNotStored):
		case err != nil:
			return nil, err
		default:
			refs[s.Name] = r.Ref
			if from != "" {
				refs[s.Name] = build.PulledFrom(from, spec, r.Digest)
			}
		}
	}
	return refs, nil
}

// asTheyRun are references as the cluster has them, where it pulls the same images from
// another registry than this machine's: a digest says that they are the same.
func asTheyRun(refs, running map[string]string) map[string]string {
	out := maps.Clone(refs)
	for service, ref := range refs {
		_, digest, _ := strings.Cut(ref, "@")
		if _, other, ok := strings.Cut(running[service], "@"); ok && other == digest {
			out[service] = running[service]
		}
	}
	return out
}

// readImages reads what `kdev build --out` wrote: references by service.
func readImages(env Env, file string, p *config.Project) (map[string]string, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(env.Dir, file)
	}
	refused := func(summary string, err error) error {
		return &problem.Problem{Class: problem.Usage, Code: "images-file", Where: file, Summary: summary, Err: err,
			Hint: "`kdev build --push REGISTRY --out images.json` writes such a file"}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		var missing *os.PathError
		if errors.As(err, &missing) {
			err = missing.Err
		}
		return nil, refused("the file of images cannot be read", err)
	}
	var doc imagesDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, refused("this is no file of images", err)
	}
	if doc.APIVersion != apiVersion {
		return nil, refused(fmt.Sprintf("this is no file of images of %s", apiVersion), nil)
	}
	if doc.Project != p.Name {
		return nil, refused(fmt.Sprintf("these are the images of project %s, not of %s", doc.Project, p.Name), nil)
	}
	refs := map[string]string{}
	for _, im := range doc.Images {
		refs[im.Service] = im.Ref
	}
	return refs, nil
}

// as are images under the names by which the cluster of a context pulls them.
func (p pulls) as(images []madeImage, context string) []madeImage {
	out := slices.Clone(images)
	for i, from := 0, p.registry(context); from != "" && i < len(out); i++ {
		_, name, _ := strings.Cut(out[i].Ref, "/")
		out[i].Ref = from + "/" + name
	}
	return out
}

// made are the references of images that were just built, by service.
func made(images []madeImage) map[string]string {
	refs := map[string]string{}
	for _, im := range images {
		refs[im.Service] = im.Ref
	}
	return refs
}
