//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/transport/transporttest"
)

// Random file operations while everything around them fails, one fault after the
// other. After each, every container ends up with the local tree, byte by byte, as
// its own application sees it. KDEV_CHAOS_SEED and KDEV_CHAOS_FOR choose another
// run; `make soak` runs for an hour.
func TestChaos(t *testing.T) {
	long, err := time.ParseDuration(cmp.Or(os.Getenv("KDEV_CHAOS_FOR"), "2m"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("KDEV_CHAOS_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	p, dialer := newProxy(t)
	b := newBench(t, dialer)
	ctx, cancel := context.WithTimeout(context.Background(), long+10*time.Minute)
	defer cancel()
	b.ctx = ctx
	c := &chaos{bench: b, proxy: p, Rand: rand.New(rand.NewPCG(seed, seed)), files: map[string]engine.File{}}
	c.start()
	faults := []fault{
		{"nothing", func() {}, nil},
		{"a pod is deleted", c.deletePod, nil},
		{"scaled to five", func() { c.scale(5) }, nil},
		{"scaled to two", func() { c.scale(2) }, nil},
		{"streams are cut", p.Cut, nil},
		{"the network swallows", p.Sink, p.Rise},
		{"the disk is full", c.fill, c.free},
		{"out of memory", c.eat, nil},
		{"the API server restarts", c.restartServer, nil},
	}
	began := time.Now()
	var slowest time.Duration
	rounds, late := 0, 0
	// Each fault at least once, whatever the time.
	for ; rounds < len(faults) || time.Since(began) < long; rounds++ {
		f := faults[rounds%len(faults)]
		if rounds >= len(faults) {
			f = faults[c.IntN(len(faults)-1)] // the kubelet backs off from a server that restarts all the time
		}
		took := c.round(f)
		if slowest = max(slowest, took); took > time.Second {
			late++
		}
		t.Logf("%s: %s: all %d pods equal after %s", time.Since(began).Round(time.Second), f.name, len(c.running()), took.Round(time.Millisecond))
	}
	t.Logf("seed %d: %d rounds, no divergence; the slowest convergence took %s, %d took more than a second", seed, rounds, slowest.Round(time.Millisecond), late)
}

// A fault begins, and where it does not end by itself is ended.
type fault struct {
	name       string
	begin, end func()
}

type chaos struct {
	*bench
	*rand.Rand
	proxy *transporttest.Proxy
	set   string // the ReplicaSet
	files map[string]engine.File
}

// start makes a ReplicaSet on the images' own root, and a pod whose folder is a
// small volume.
func (c *chaos) start() {
	c.t.Helper()
	limits := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	labels := map[string]string{"bench": c.label()}
	sets := client.Core.AppsV1().ReplicaSets(namespace)
	set, err := sets.Create(c.ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "chaos-", Namespace: namespace},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: ptr.To(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"set": c.label()}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"bench": c.label(), "set": c.label()}},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: ptr.To(int64(0)),
					Containers:                    []corev1.Container{{Name: "c", Image: image("busybox"), ImagePullPolicy: corev1.PullNever, Resources: corev1.ResourceRequirements{Limits: limits}}},
				},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.set = set.Name
	c.t.Cleanup(func() {
		policy := metav1.DeletePropagationForeground
		if err := sets.Delete(context.Background(), set.Name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			c.t.Log(err)
		}
	})
	c.pod("volume", "scratch", func(p *corev1.Pod) {
		p.Labels = labels
		p.Spec.Volumes = []corev1.Volume{{Name: "small", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: ptr.To(resource.MustParse("24Mi"))}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "small", MountPath: "/app"}}
	})
	c.bench.start(nil)
	c.files = c.scan() // the image's own data.txt, which is desired already
	c.settled("the start")
}

// round saves while a fault is on, ends it, and returns how long it then takes
// until all running containers are equal.
func (c *chaos) round(f fault) time.Duration {
	c.t.Helper()
	c.forget()
	c.save(1 + c.IntN(4))
	f.begin()
	c.save(2 + c.IntN(8))
	if f.name == "the disk is full" {
		c.fillUp()
	}
	if f.end != nil {
		f.end()
	}
	c.save(c.IntN(3))
	return c.settled(f.name)
}

// save does n operations on the local tree, told in one to n batches.
func (c *chaos) save(n int) {
	for range n {
		c.operation()
		if c.IntN(3) == 0 {
			c.tell()
			time.Sleep(time.Duration(c.IntN(30)) * time.Millisecond)
		}
	}
	c.tell()
}

func (c *chaos) name() string {
	parts := []string{}
	for range 1 + c.IntN(3) {
		parts = append(parts, string(rune('a'+c.IntN(4))))
	}
	return filepath.Join(c.local, filepath.Join(parts...))
}

// operation does one thing to the local tree; what the tree does not allow just
// then is left.
func (c *chaos) operation() {
	p := c.name()
	switch c.IntN(10) {
	case 0:
		os.RemoveAll(p)
	case 1:
		os.Rename(p, c.name())
	case 2:
		os.Chmod(p, []fs.FileMode{0o644, 0o755, 0o600}[c.IntN(3)])
	case 3:
		os.MkdirAll(p, 0o755)
	case 4:
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.Symlink(string(rune('a'+c.IntN(4))), p)
	case 5:
		c.flip()
	case 6:
		c.put(p, 600<<10+c.IntN(200<<10)) // big enough for patches
	default:
		c.put(p, c.IntN(9000))
	}
}

func (c *chaos) put(p string, size int) {
	if info, err := os.Lstat(p); err == nil && !info.Mode().IsRegular() {
		os.RemoveAll(p)
	}
	os.MkdirAll(filepath.Dir(p), 0o755)
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(c.Uint32())
	}
	os.WriteFile(p, b, 0o644)
}

// flip changes a byte of a file that is there.
func (c *chaos) flip() {
	names := slices.Sorted(maps.Keys(c.files))
	f, err := os.OpenFile(filepath.Join(c.local, c.files[names[c.IntN(len(names))]].Local), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		f.WriteAt([]byte{byte(c.Uint32())}, c.Int64N(info.Size()))
	}
}

// scan reads the local tree as the session's index does.
func (c *chaos) scan() map[string]engine.File {
	all := map[string]engine.File{}
	filepath.WalkDir(c.local, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == c.local {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(c.local, p)
		f := engine.File{Mode: info.Mode(), Local: rel}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			f.Link, _ = os.Readlink(p)
		case info.Mode().IsRegular():
			content, err := os.ReadFile(p)
			if err != nil {
				return nil
			}
			f.Size, f.Digest, f.MTime = int64(len(content)), sha256.Sum256(content), info.ModTime().UnixNano()
		}
		all["/app/"+rel] = f
		return nil
	})
	return all
}

// tell hands the mirror what differs from what it was told before.
func (c *chaos) tell() {
	now := c.scan()
	changed := map[string]*engine.File{}
	for p, f := range now {
		if c.files[p] != f {
			changed[p] = &f
		}
	}
	for p := range c.files {
		if _, ok := now[p]; !ok {
			changed[p] = nil
		}
	}
	if len(changed) > 0 {
		c.update(changed)
	}
	c.files = now
}

// want is the local tree in the words of testapp.
func (c *chaos) want() string {
	var lines []string
	for p, f := range c.files {
		name := strings.TrimPrefix(p, "/app/")
		switch {
		case f.Mode.IsDir():
			name += "/"
		case f.Mode&fs.ModeSymlink != 0:
			name += " -> " + f.Link
		default:
			name += fmt.Sprintf(" %o %s", f.Mode.Perm(), f.Digest)
		}
		lines = append(lines, name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// running are the pods whose container runs.
func (c *chaos) running() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for name, pod := range c.pods {
		if pod.DeletionTimestamp == nil && len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Running != nil {
			all = append(all, name)
		}
	}
	return all
}

// whole says whether every pod that there is to be runs.
func (c *chaos) whole() bool {
	set, err := client.Core.AppsV1().ReplicaSets(namespace).Get(c.ctx, c.set, metav1.GetOptions{})
	return err == nil && set.Status.ObservedGeneration == set.Generation && len(c.running()) == int(*set.Spec.Replicas)+1
}

// settled waits until all containers run, which is the kubelet's affair, and then
// until all are equal, which is ours and what it returns.
func (c *chaos) settled(after string) time.Duration {
	c.t.Helper()
	// The kubelet backs off from containers that ended often: five minutes at most.
	waited := c.poll("all containers running after "+after, 6*time.Minute, c.whole)
	if waited > 5*time.Second {
		c.t.Logf("the containers ran again after %s", waited.Round(time.Second))
	}
	want := c.want()
	last := map[string]string{}
	defer func() {
		if !c.t.Failed() {
			return
		}
		for pod, got := range last {
			c.t.Logf("%s holds\n%s", pod, got)
		}
		c.t.Logf("want\n%s", want)
	}()
	took := c.poll("equal trees after "+after, 2*time.Minute, func() bool {
		for _, pod := range c.running() {
			got, err := c.tree(pod)
			if last[pod] = got; err != nil || got != want {
				return false
			}
		}
		return c.whole()
	})
	if c.synced(); c.t.Failed() {
		c.t.FailNow()
	}
	for _, s := range c.m.Status() {
		if s.Problem != nil {
			c.t.Errorf("%s is equal and has a problem: %v", s.Pod, s.Problem)
		}
	}
	return took
}

func (c *chaos) tree(pod string) (string, error) {
	text, err := c.fetch(pod, 8080, "/-/tree?dir=/app")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n"), err
}
