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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/sync/mirror"
)

// A fault begins, and where it does not end by itself is ended.
type fault struct {
	name       string
	begin, end func()
	network    bool // it takes the containers away from kdev, or needs them to be there until it has ended
	rare       bool // not more than once: the kubelet backs off from what restarts all the time
}

func (c *chaos) faults() []fault {
	return []fault{
		{name: "nothing", begin: func() {}},
		{name: "a pod is deleted", begin: c.deletePod},
		{name: "scaled to five", begin: func() { c.scale(5) }},
		{name: "scaled to two", begin: func() { c.scale(2) }},
		{name: "streams are cut", begin: c.proxy.Cut},
		{name: "the network swallows", begin: c.proxy.Sink, end: c.proxy.Rise, network: true},
		{name: "the disk is full", begin: c.fill, end: c.free, network: true},
		{name: "out of memory", begin: c.eat},
		{name: "the API server restarts", begin: c.restartServer, rare: true},
	}
}

// pair chooses two faults that can be on at the same time.
func (c *chaos) pair(faults []fault) []fault {
	for {
		a, b := faults[c.IntN(len(faults))], faults[c.IntN(len(faults))]
		if a.name != b.name && !(a.network && b.network) && !a.rare && !b.rare {
			return []fault{a, b}
		}
	}
}

// visible checks that what has failed shows in the container's status until it is over.
// The container's worker waits for it, so that both speak of the same moment.
func (c *chaos) visible(e mirror.Event) {
	if e.Kind != mirror.Failed && e.Kind != mirror.Synced {
		return
	}
	for _, s := range c.m.Status() {
		if s.Pod != e.Pod || s.Container != e.Container {
			continue
		}
		if failed := e.Kind == mirror.Failed; failed != (s.Problem != nil) {
			c.t.Errorf("%s/%s: after %s its problem is %v", s.Pod, s.Container, e.Kind, s.Problem)
		} else if failed {
			c.failures.Add(1)
		}
	}
}

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
	c.poll("a pod to delete", 6*time.Minute, func() bool {
		pod := c.any(false)
		if pod == "" {
			return false
		}
		err := client.Core.CoreV1().Pods(namespace).Delete(c.ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))})
		if err != nil && !apierrors.IsNotFound(err) {
			c.t.Error(err)
		}
		return err == nil
	})
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
// ours. A process that is just being restarted does not eat: it is asked again.
func (c *chaos) eat() {
	var pod, before string
	var asked time.Time
	c.poll("the end of a container without memory", 6*time.Minute, func() bool {
		switch {
		case before != "" && c.life(pod) != before:
			return true
		case before == "":
			pod = c.any(false)
			before = c.life(pod)
		case time.Since(asked) > 10*time.Second:
			asked = time.Now()
			_, _ = c.fetch(pod, 8080, "/-/eat") // there is no answer
		}
		return false
	})
}

// life names a pod's container for as long as it runs, as far as the API has told.
func (c *chaos) life(pod string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pods[pod]; p != nil && p.DeletionTimestamp == nil {
		for _, st := range p.Status.ContainerStatuses {
			if st.Name == "c" && st.State.Running != nil {
				return st.ContainerID
			}
		}
	}
	return ""
}

func (c *chaos) fill() { c.demand("/-/fill?dir=/app") }

// free ends a full disk, when that has refused something.
func (c *chaos) free() {
	c.fillUp()
	c.demand("/-/free?dir=/app")
}

// demand has the pod with the volume do something, which may restart just then.
func (c *chaos) demand(path string) {
	c.poll(path, time.Minute, func() bool {
		answer, err := c.fetch(c.any(true), 8080, path)
		return err == nil && answer == ""
	})
}

// fillUp saves until the full disk has refused something, and that was shown. What was
// removed since it was filled may have made room again.
func (c *chaos) fillUp() {
	c.t.Helper()
	for full := false; !full; {
		c.put(filepath.Join(c.local, "full"), 700<<10)
		c.tell()
		c.poll("a full disk to refuse a file, or the file to be there", 6*time.Minute, func() bool {
			for _, s := range c.m.Status() {
				if strings.HasPrefix(s.Pod, "volume") {
					// It stays a problem for as long as it is one.
					full = s.Problem != nil && s.Problem.Code == "sync-no-space"
					return full || s.Generation >= c.gen
				}
			}
			return false
		})
		if !full {
			c.fill()
		}
	}
	c.awaitEvent("the refusal of a full disk", func(e mirror.Event) bool {
		return e.Kind == mirror.Failed && e.Problem != nil && e.Problem.Code == "sync-no-space"
	})
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
