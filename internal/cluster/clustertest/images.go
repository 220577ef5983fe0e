package clustertest

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/kdev-io/kdev/internal/cluster"
)

// Image is what pods of tests run: a Debian with a shell. It is put into the
// nodes, so that no test needs a registry.
const Image = "debian:bookworm-slim"

// Load copies Image from the engine into nodes that lack it. Only tests do that:
// it copies the whole image, where kdev pushes what changed.
func Load(ctx context.Context, c *cluster.Cluster) error {
	for _, node := range c.Nodes {
		have, err := exec.CommandContext(ctx, c.Engine, "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q").Output()
		if err != nil {
			return fmt.Errorf("list the images of %s: %w", node, err)
		}
		if strings.Contains(string(have), "docker.io/library/"+Image+"\n") {
			continue
		}
		save := exec.CommandContext(ctx, c.Engine, "save", Image)
		read := exec.CommandContext(ctx, c.Engine, "exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-")
		pipe, err := save.StdoutPipe()
		if err != nil {
			return err
		}
		read.Stdin = pipe
		if err := save.Start(); err != nil {
			return fmt.Errorf("save %s: %w", Image, err)
		}
		out, err := read.CombinedOutput()
		if waited := save.Wait(); err == nil {
			err = waited
		}
		if err != nil {
			return fmt.Errorf("load %s into %s: %w\n%s", Image, node, err, out)
		}
	}
	return nil
}
