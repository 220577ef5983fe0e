//go:build e2e

package build

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// TestDevImageRuns starts a dev image as its own user: the agent starts the
// image's command, and that user may write where files are synced to.
func TestDevImageRuns(t *testing.T) {
	b := newBench(t)
	root, idx := project(t,
		"Dockerfile", "FROM debian:bookworm-slim\nWORKDIR /app\nCOPY . .\nUSER www-data\nENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"id -un; touch /app/new /app/src/new && mv /app/new /app/main.sh && echo written; exit 3\"]\n",
		"main.sh", "x", "src/a.txt", "a")
	spec := Spec{Project: "dev", Service: "web", Root: root, Context: root, Dockerfile: filepath.Join(root, "Dockerfile"), Platform: "linux/amd64", Dev: true}
	r, err := New(b.docker, b.store, b.ep, idx).Build(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s in %v", r.Rung, r.Took)

	// An engine without the token may pull.
	ref := b.ep.PushHost + "/" + spec.Repository() + "@" + r.Digest
	pull, err := b.docker.ImagePull(t.Context(), ref, client.ImagePullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, pull); err != nil {
		t.Fatal(err)
	}
	pull.Close()
	t.Cleanup(func() {
		_, _ = b.docker.ImageRemove(context.Background(), ref, client.ImageRemoveOptions{})
	})
	c, err := b.docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{Image: ref})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = b.docker.ContainerRemove(context.Background(), c.ID, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := b.docker.ContainerStart(t.Context(), c.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	done := b.docker.ContainerWait(t.Context(), c.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case status := <-done.Result:
		if status.StatusCode != 3 {
			t.Errorf("exit code %d, want the program's own 3", status.StatusCode)
		}
	case err := <-done.Error:
		t.Fatal(err)
	}
	logs, err := b.docker.ContainerLogs(t.Context(), c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var out strings.Builder
	if _, err := stdcopy.StdCopy(&out, &out, logs); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "www-data\nwritten\n") {
		t.Errorf("printed %q", out.String())
	}
}
