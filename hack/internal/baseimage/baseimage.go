// Package baseimage makes the images that Dockerfiles start from, under their usual names, from Debian packages.
//
// In: Debian's mirror as this machine's apt knows it, the npm registry, this machine's Go. Out: images on the engine, each
// tagged with the version that it really holds and the short tags that are true of that. It never takes a name away from an
// image that it did not make, and where the registry can be reached it pulls the true image instead.
package baseimage

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kdev-io/kdev/hack/internal/cache"
	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/step"
	"github.com/kdev-io/kdev/internal/problem"
)

const area = "base-images"

//go:embed files
var files embed.FS

// A Maker makes base images.
type Maker struct {
	Log   *step.Log
	Cache *cache.Cache
	Pulls *docker.Puller

	debian sync.Mutex // the node image and the base images both begin with it
}

// An image is one row of the table.
type image struct {
	name     string
	version  []string // the command that prints the version that the image holds; nil where the recipe says it
	fixed    string   // the version, where the recipe says it
	suffixes []string // of the tags: "-slim"
	tags     []string // instead of version tags
	wanted   []string // tags that examples rely on: pulled where they can be, and an error when what was made is something else
	files    []string // beside the Dockerfile
	nonroot  bool     // one more tag, with an ordinary user
	extra    func(ctx context.Context) (recipe string, entries func(ctx context.Context) ([]docker.Entry, error), err error)
}

// images is every image but Debian, which all of them are made from.
func images() []image {
	return []image{
		{name: "python", version: []string{"python3", "-c", "import platform; print(platform.python_version())"},
			suffixes: []string{"-slim", "-slim-bookworm"}, wanted: []string{"3.11-slim", "3-slim"}},
		{name: "node", fixed: nodeVersion, suffixes: []string{"-slim", "-bookworm-slim"}, wanted: []string{"20.8-slim", "20-slim"},
			files: []string{"node-entrypoint"}, extra: nodePackages},
		{name: "golang", fixed: goVersion(), suffixes: []string{"", "-bookworm"}, wanted: truthful(goVersion(), []string{""})[:2], extra: goroot},
		{name: "ruby", version: []string{"ruby", "-e", "print RUBY_VERSION"},
			suffixes: []string{"-slim", "-slim-bookworm"}, wanted: []string{"3.1-slim", "3-slim"}},
		{name: "redis", version: []string{"sh", "-c", "redis-server --version | sed 's/.* v=//; s/ .*//'"},
			suffixes: []string{"", "-bookworm"}, wanted: []string{"7.0", "7"}, files: []string{"redis-entrypoint"}},
		{name: "postgres", version: []string{"sh", "-c", "postgres --version | sed 's/.*(PostgreSQL) //; s/ .*//'"},
			suffixes: []string{"", "-bookworm"}, wanted: []string{"15"}, files: []string{"postgres-entrypoint"}},
		{name: "nginx", version: []string{"sh", "-c", "nginx -v 2>&1 | sed 's:.*nginx/::; s/ .*//'"},
			suffixes: []string{""}, wanted: []string{"1.22", "1"}, files: []string{"nginx.conf", "nginx-default.conf", "nginx-entrypoint"}},
		{name: "busybox", version: []string{"sh", "-c", "busybox | sed -n '1s/BusyBox v//; 1s/ .*//p'"},
			suffixes: []string{""}, wanted: []string{"1.35", "1"}},
		{name: "gcr.io/distroless/static-debian12", tags: []string{"latest"}, wanted: []string{"latest", "nonroot"}, nonroot: true},
	}
}

// Ensure has base images on the engine: those with the names, or all of them.
func (m *Maker) Ensure(ctx context.Context, names ...string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if err := m.Debian(ctx); err != nil {
		return err
	}
	// Two at a time: package managers wait for the disk and for the network in turn.
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	turn := make(chan struct{}, 2)
	for _, i := range chosen {
		turn <- struct{}{}
		wait.Go(func() {
			defer func() { <-turn }()
			if err := m.ensure(ctx, i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
				cancel()
			}
		})
	}
	wait.Wait()
	for _, err := range failed { // the first that is not the echo of another
		if !step.Interrupted(err) {
			return err
		}
	}
	return errors.Join(failed...)
}

// choose returns the images with the names; the last element of a name is enough.
func choose(names []string) ([]image, error) {
	if len(names) == 0 {
		return images(), nil
	}
	var chosen []image
	for _, name := range names {
		n := slices.IndexFunc(images(), func(i image) bool { return i.name == name || filepath.Base(i.name) == name })
		if n >= 0 {
			chosen = append(chosen, images()[n])
		} else if name != "debian" { // which is made in any case
			return nil, &problem.Problem{
				Class: problem.Usage, Code: "offline-usage", Summary: "no base image is called " + name, Hint: "one of: " + strings.Join(Names(), " "),
			}
		}
	}
	return chosen, nil
}

// ensure has one image on the engine.
func (m *Maker) ensure(ctx context.Context, i image) error {
	entries, recipe, fill, err := m.parts(ctx, i)
	if err != nil {
		return err
	}
	return m.Log.Do(area, i.name, func() (string, error) {
		if got, err := m.given(ctx, i, recipe.Hash()); err != nil || got != "" {
			return got, err
		}
		if fill != nil {
			more, err := fill(ctx)
			if err != nil {
				return "", err
			}
			entries = append(entries, more...)
		}
		return m.make(ctx, i, recipe.Hash(), entries)
	})
}

// parts is what an image is made of: the context, the recipe, and what has yet to be fetched for the context.
func (m *Maker) parts(ctx context.Context, i image) (entries []docker.Entry, recipe cache.Recipe, fill func(context.Context) ([]docker.Entry, error), err error) {
	debian, err := debianRecipe()
	if err != nil {
		return nil, nil, nil, err
	}
	recipe = append(cache.Recipe{i.name}, debian.Hash())
	for _, name := range append([]string{filepath.Base(dockerfile(i.name))}, i.files...) {
		text, err := fs.ReadFile(files, "files/"+name)
		if err != nil {
			return nil, nil, nil, err
		}
		recipe = append(recipe, name, string(text))
		if strings.HasSuffix(name, ".Dockerfile") {
			name = "Dockerfile"
		}
		entries = append(entries, docker.Entry{Name: name, Content: text})
	}
	if i.extra != nil {
		var more string
		more, fill, err = i.extra(ctx)
		recipe = append(recipe, more)
	}
	return entries, recipe, fill, err
}

// given looks for the image under its wanted names: made by this recipe, somebody else's, or the registry's.
func (m *Maker) given(ctx context.Context, i image, hash string) (note string, err error) {
	var wanted []string
	for _, tag := range i.wanted {
		wanted = append(wanted, i.name+":"+tag)
	}
	here, err := docker.Images(ctx, wanted...)
	if err != nil {
		return "", err
	}
	if complete(wanted, here, hash) {
		return step.Cached, nil
	}
	for _, ref := range wanted {
		has, ok := here[ref]
		if ok && has.Recipe() == "" {
			continue
		}
		// A name of ours with another recipe: this machine made it because it could not pull it, and makes it again.
		if ok || m.Pulls.Pull(ctx, ref) != nil {
			return "", ctx.Err()
		}
	}
	return "pulled", nil
}

// make builds the image, finds out what it holds, and names it after that.
func (m *Maker) make(ctx context.Context, i image, hash string, entries []docker.Entry) (note string, err error) {
	work := "kdev.dev/offline/" + filepath.Base(i.name) + ":" + hash
	build := docker.Build{Tags: []string{work}, Recipe: hash, Context: entries}
	if i.name == "node" && len(machineCAs()) > 0 {
		build.Args = map[string]string{"EXTRA_CA": "/etc/ssl/certs/ca-certificates.crt"}
	}
	if i.name == "golang" {
		build.Args = goEnv(ctx).proxies
	}
	if err := build.Run(ctx); err != nil {
		return "", err
	}
	defer docker.Remove(context.WithoutCancel(ctx), work)
	docker.DiscardStages(ctx)
	version := i.fixed
	if i.version != nil {
		if version, err = docker.Output(ctx, work, i.version...); err != nil {
			return "", err
		}
	}
	named := refs(i, version)
	for _, tag := range i.wanted {
		if !slices.Contains(named, i.name+":"+tag) {
			return "", &problem.Problem{
				Code:    "offline-version",
				Summary: fmt.Sprintf("Debian's %s is %s, and %s:%s would not be true of it", i.name, version, i.name, tag),
				Hint:    "correct the wanted tags in hack/internal/baseimage, and the Dockerfiles that rely on them",
			}
		}
	}
	kept, err := m.name(ctx, i, work, named, hash)
	if err != nil {
		return "", err
	}
	if len(kept) > 0 {
		return "kept yours: " + strings.Join(kept, ", "), nil
	}
	return version, nil
}

// name gives the built image its names, but for those that somebody else's image has.
func (m *Maker) name(ctx context.Context, i image, work string, named []string, hash string) (kept []string, err error) {
	here, err := docker.Images(ctx, named...)
	if err != nil {
		return nil, err
	}
	for _, ref := range named {
		if has, ok := here[ref]; ok && has.Recipe() == "" {
			kept = append(kept, ref)
			continue
		}
		if i.nonroot && strings.HasSuffix(ref, ":nonroot") {
			text := "FROM " + work + "\nUSER 65532\nWORKDIR /home/nonroot\n"
			build := docker.Build{Tags: []string{ref}, Recipe: hash, Context: []docker.Entry{{Name: "Dockerfile", Content: []byte(text)}}}
			if err := build.Run(ctx); err != nil {
				return kept, err
			}
			continue
		}
		if err := docker.Tag(ctx, work, ref); err != nil {
			return kept, err
		}
	}
	docker.Discard(ctx, outdated(here, hash))
	return kept, nil
}

// refs are all the names of an image that holds version.
func refs(i image, version string) []string {
	var all []string
	for _, tag := range i.tags {
		all = append(all, i.name+":"+tag)
	}
	if i.nonroot {
		all = append(all, i.name+":nonroot")
	}
	for _, tag := range truthful(version, i.suffixes) {
		all = append(all, i.name+":"+tag)
	}
	return all
}

// truthful is the tags that are true of a version: itself and its prefixes, each with every suffix. "latest" is none of them.
func truthful(version string, suffixes []string) []string {
	var tags []string
	for parts := strings.Split(version, "."); version != "" && len(parts) > 0; parts = parts[:len(parts)-1] {
		for _, suffix := range suffixes {
			tags = append(tags, strings.Join(parts, ".")+suffix)
		}
	}
	return tags
}

// complete tells whether every name is taken: by an image of this recipe, or by one that is not ours.
func complete(named []string, here map[string]docker.Image, hash string) bool {
	for _, ref := range named {
		if has, ok := here[ref]; !ok || (has.Recipe() != "" && has.Recipe() != hash) {
			return false
		}
	}
	return len(named) > 0
}

// outdated are those of the images that were made here, by another recipe.
func outdated(here map[string]docker.Image, hash string) map[string]docker.Image {
	old := maps.Clone(here)
	maps.DeleteFunc(old, func(_ string, i docker.Image) bool { return i.Recipe() == "" || i.Recipe() == hash })
	return old
}

func dockerfile(name string) string {
	if strings.Contains(name, "distroless") {
		name = "distroless"
	}
	return "files/" + name + ".Dockerfile"
}

// Names are the repositories that this package makes images for.
func Names() []string {
	names := []string{"debian"}
	for _, i := range images() {
		names = append(names, i.name)
	}
	return names
}

// Wanted are the references that examples rely on.
func Wanted() []string {
	all := []string{Base}
	for _, i := range images() {
		for _, tag := range i.wanted {
			all = append(all, i.name+":"+tag)
		}
	}
	return all
}
