//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/sync/mirror"
)

// any is one of the running pods of the ReplicaSet, or the one with the volume.
func (c *chaos) any(volume bool) string {
	pods := slices.DeleteFunc(c.running(), func(name string) bool { return strings.HasPrefix(name, "volume") != volume })
	if len(pods) == 0 {
		return ""
	}
	slices.Sort(pods)
	return pods[c.IntN(len(pods))]
}

func (c *chaos) deletePod() {
	err := client.Core.CoreV1().Pods(namespace).Delete(c.ctx, c.any(false), metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))})
	if err != nil {
		c.t.Error(err)
	}
}

func (c *chaos) scale(n int32) {
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, n)
	_, err := client.Core.AppsV1().ReplicaSets(namespace).Patch(c.ctx, c.set, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	if err != nil {
		c.t.Error(err)
	}
}

// eat has a container killed for its memory. The API tells of that a moment later:
// until then the container seems to run, and the kubelet's back-off would count as
// ours.
func (c *chaos) eat() {
	pod := c.any(false)
	before := c.life(pod)
	c.poke(pod, "/-/eat")
	c.poll("the end of "+pod, time.Minute, func() bool { return c.life(pod) != before })
}

// life names a pod's container for as long as it runs, as far as the API has told.
func (c *chaos) life(pod string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pods[pod]
	if p == nil || len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Running == nil {
		return ""
	}
	return p.Status.ContainerStatuses[0].ContainerID
}

func (c *chaos) fill() { c.poke(c.any(true), "/-/fill?dir=/app") }
func (c *chaos) free() { c.poke(c.any(true), "/-/free?dir=/app") }

// fillUp saves until the full disk has refused something, and that was shown.
func (c *chaos) fillUp() {
	c.t.Helper()
	c.put(filepath.Join(c.local, "full"), 700<<10)
	c.tell()
	c.awaitEvent("the refusal of a full disk", func(e mirror.Event) bool {
		return e.Kind == mirror.Failed && e.Problem != nil && e.Problem.Code == "sync-no-space"
	})
	// It stays a problem for as long as it is one.
	if !slices.ContainsFunc(c.m.Status(), func(s mirror.Status) bool { return s.Problem != nil && s.Problem.Code == "sync-no-space" }) {
		c.t.Error("the disk is full, and no container's status says so")
	}
	os.Remove(filepath.Join(c.local, "full"))
	c.tell()
}

// restartServer ends the API server; the kubelet starts it again.
func (c *chaos) restartServer() {
	out, err := exec.CommandContext(c.ctx, "docker", "exec", clustertest.Name+"-control-plane", "sh", "-c", "kill -9 $(pidof kube-apiserver)").CombinedOutput()
	if err != nil {
		c.t.Errorf("%v: %s", err, out)
	}
}
