package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// NodeImages are images of this registry that a node holds.
type NodeImages struct {
	Node    string
	Removed []string // references
	Kept    int
}

// CollectNodes removes from the nodes the images of this registry that a
// collection of the store did not keep, or would not, unless a container of the
// node uses them. kind turns the kubelet's own collection off. Images of others
// are left alone.
func (e *Endpoint) CollectNodes(ctx context.Context, docker *client.Client, kept []layout.Kept, nodes []string, dryRun bool) ([]NodeImages, error) {
	keep := map[string]bool{}
	for _, k := range kept {
		keep[string(k.Digest)] = true
	}
	reports := make([]NodeImages, len(nodes))
	failed := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() { reports[i], failed[i] = e.collectNode(ctx, docker, node, keep, dryRun) })
	}
	wg.Wait()
	return reports, errors.Join(failed...)
}

func (e *Endpoint) collectNode(ctx context.Context, docker *client.Client, node string, keep map[string]bool, dryRun bool) (NodeImages, error) {
	r := NodeImages{Node: node}
	// crictl is not on every node image; ctr belongs to containerd.
	images, err := e.ctr(ctx, docker, node, "images", "ls")
	if err != nil {
		return r, err
	}
	used, err := e.ctr(ctx, docker, node, "containers", "ls")
	if err != nil {
		return r, err
	}
	stale := e.stale(images, used, keep)
	for _, ref := range ownImages(images, e.Host) {
		if !stale[ref.digest] {
			r.Kept++
		}
	}
	var args []string
	for _, ref := range allImages(images) {
		if stale[ref.digest] {
			r.Removed = append(r.Removed, ref.name)
			args = append(args, ref.name)
		}
	}
	if dryRun || len(args) == 0 {
		return r, nil
	}
	_, err = e.ctr(ctx, docker, node, append([]string{"images", "rm", "--sync"}, args...)...)
	return r, err
}

// stale are the digests of our images that may go.
func (e *Endpoint) stale(images, containers string, keep map[string]bool) map[string]bool {
	inUse := map[string]bool{}
	for _, line := range strings.Split(containers, "\n") {
		if fields := strings.Fields(line); len(fields) >= 2 {
			inUse[fields[1]] = true
		}
	}
	used := map[string]bool{}
	for _, ref := range allImages(images) {
		if inUse[ref.name] {
			used[ref.digest] = true
		}
	}
	stale := map[string]bool{}
	for _, ref := range ownImages(images, e.Host) {
		if !keep[ref.digest] && !used[ref.digest] {
			stale[ref.digest] = true
		}
	}
	return stale
}

type nodeImage struct{ name, digest string }

// allImages reads `ctr images ls`: a line each with reference, type, digest.
func allImages(out string) []nodeImage {
	var images []nodeImage
	for _, line := range strings.Split(out, "\n") {
		fields := strings.Fields(line)
		if len(fields) >= 3 && strings.HasPrefix(fields[2], "sha256:") {
			images = append(images, nodeImage{fields[0], fields[2]})
		}
	}
	return images
}

func ownImages(out, host string) []nodeImage {
	var own []nodeImage
	for _, ref := range allImages(out) {
		if strings.HasPrefix(ref.name, host+"/") {
			own = append(own, ref)
		}
	}
	return own
}

func (e *Endpoint) ctr(ctx context.Context, docker *client.Client, node string, args ...string) (string, error) {
	out, code, err := execIn(ctx, docker, node, append([]string{"ctr", "--namespace", "k8s.io"}, args...))
	if err != nil {
		return "", explain(ctx, fmt.Errorf("look at the images of node %s: %w", node, err))
	}
	if code != 0 {
		return "", &problem.Problem{
			Code: "node-refused", Where: node, Summary: fmt.Sprintf("ctr %s failed (exit code %d)", strings.Join(args[:min(2, len(args))], " "), code), Output: out,
			Hint: "see whether the node is healthy: docker exec " + node + " true",
		}
	}
	return out, nil
}
