package engine

import (
	"context"
	"strconv"
	"strings"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/moby/client"
)

// Version is the release of the engine's BuildKit (12 for 0.12), 0 where it is
// older than what tells it, and the engine as people know it: "Docker 20.10.24".
func (b *Builder) Version(ctx context.Context) (release int, name string, err error) {
	kit, err := b.dial(ctx)
	if err != nil {
		return 0, "", explain(ctx, err)
	}
	defer kit.Close()
	if release, err = releaseOf(ctx, kit); err != nil {
		return 0, "", explain(ctx, err)
	}
	v, err := b.docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return 0, "", explain(ctx, err)
	}
	bare, _, _ := strings.Cut(v.Version, "+")
	// Some builds of Docker do not know what they are made from.
	return max(release, releaseIn(bare)), "Docker " + bare, nil
}

// Version is as that of a [Builder].
func (r *Remote) Version(ctx context.Context) (release int, err error) {
	kit, err := r.dialer.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer kit.Close()
	if release, err = releaseOf(ctx, kit); err != nil && ctx.Err() == nil {
		return 0, cause(err)
	}
	return release, err
}

// releaseOf is that of the oldest worker.
func releaseOf(ctx context.Context, kit *buildkit.Client) (int, error) {
	workers, err := kit.ListWorkers(ctx)
	if err != nil {
		return 0, err
	}
	oldest := -1
	for _, w := range workers {
		if r := release(w.BuildkitVersion.Version); oldest < 0 || r < oldest {
			oldest = r
		}
	}
	return max(oldest, 0), nil
}

// release is the 12 of v0.12.3; what comes after 0 is newer than all of those.
func release(version string) int {
	fields := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(fields) < 2 {
		return 0
	}
	major, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0
	}
	if major > 0 {
		return 1000
	}
	minor, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return minor
}

// releaseIn is the oldest release of BuildKit that a version of Docker has.
func releaseIn(docker string) int {
	major, _, _ := strings.Cut(docker, ".")
	n, err := strconv.Atoi(major)
	switch {
	case err != nil || n > 1000: // 20250101 and its like say nothing
		return 0
	case n >= 28:
		return 20
	case n >= 25:
		return 12
	}
	return 0
}
