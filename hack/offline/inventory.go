package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/baseimage"
	"github.com/kdev-io/kdev/hack/internal/cache"
	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/nodeimage"
)

// status prints what is there. It changes nothing and starts nothing.
func status(ctx context.Context, out io.Writer, kept *cache.Cache) error {
	fmt.Fprintf(out, "%-12s %s, %d MB\n", "cache", kept.Root, kept.Size()>>20)
	info, err := docker.Ask(ctx)
	if err != nil {
		fmt.Fprintf(out, "%-12s none answers\n", "engine")
		return nil
	}
	fmt.Fprintf(out, "%-12s Docker %s, runtime %s, cgroup v%s\n", "engine", info.ServerVersion, info.DefaultRuntime, info.CgroupVersion)
	here, err := docker.Images(ctx, append(baseimage.Wanted(), nodeimage.Default, nodeimage.Image)...)
	if err != nil {
		return err
	}
	state := func(ref string) string {
		switch image, ok := here[ref]; {
		case !ok:
			return "missing"
		case image.Recipe() == "":
			return "there"
		default:
			return "made here"
		}
	}
	for _, ref := range []string{nodeimage.Default, nodeimage.Image} {
		name, _, _ := strings.Cut(ref, "@")
		fmt.Fprintf(out, "%-12s %-45s %s\n", "node-image", name, state(ref))
	}
	for _, ref := range baseimage.Wanted() {
		fmt.Fprintf(out, "%-12s %-45s %s\n", "base-images", ref, state(ref))
	}
	return nil
}

// clean removes the images and the cache. The engine stays: somebody else's containers may run on it by now.
func clean(ctx context.Context, out io.Writer, kept *cache.Cache) error {
	if _, err := docker.Ask(ctx); err == nil {
		names, err := made(ctx)
		if err != nil {
			return err
		}
		containers, err := docker.RemoveContainers(ctx)
		if err != nil {
			return err
		}
		for _, id := range containers {
			fmt.Fprintf(out, "%-12s container %s\n", "removed", id)
		}
		for _, name := range names {
			if err := docker.Remove(ctx, name); err != nil {
				fmt.Fprintf(out, "%-12s %s: %v\n", "kept", name, err)
				continue
			}
			fmt.Fprintf(out, "%-12s %s\n", "removed", name)
		}
	}
	size := kept.Size()
	if err := os.RemoveAll(kept.Root); err != nil {
		return fmt.Errorf("removing the cache: %w", err)
	}
	fmt.Fprintf(out, "%-12s %s, %d MB\n", "removed", kept.Root, size>>20)
	return nil
}

// made are the names of the images that were made here: those with our label and a name of ours. An image that somebody
// built FROM one of them has the label too.
func made(ctx context.Context) ([]string, error) {
	labelled, err := docker.List(ctx)
	if err != nil {
		return nil, err
	}
	ours := append(baseimage.Names(), nodeimage.Repository)
	return slices.DeleteFunc(labelled, func(ref string) bool {
		repository := ref[:strings.LastIndex(ref, ":")]
		return !slices.Contains(ours, repository) && !strings.HasPrefix(repository, "kdev.dev/offline/")
	}), nil
}
