package registry

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Remove removes the store's container, if it has one, and with it the volume
// of an engine that cannot see the store. The store itself stays. It reports
// whether there was one.
func Remove(ctx context.Context, docker *client.Client, s *Store) (bool, error) {
	unlock, err := s.Lock(ctx, "ensure")
	if err != nil {
		return false, err
	}
	defer unlock()
	e := &ensurer{docker: docker, store: s, progress: func(string) {}}
	found, err := e.find(ctx)
	if err != nil {
		return false, explain(ctx, err)
	}
	if found == nil {
		return false, nil
	}
	_, err = docker.ContainerRemove(ctx, found.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return false, explain(ctx, fmt.Errorf("remove the image registry: %w", err))
	}
	// A named volume is not the container's own to the engine.
	if found.Config != nil && found.Config.Labels[labelShared] == "false" {
		if _, err := docker.VolumeRemove(ctx, e.name, client.VolumeRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return false, explain(ctx, fmt.Errorf("remove the image registry's volume: %w", err))
		}
	}
	return true, nil
}
