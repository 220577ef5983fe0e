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
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/sync/transport/transporttest"
)

// Random file operations while everything around them fails: each fault by itself, then
// two at once. After each round every container, sidecars included, ends up with the local
// tree, byte by byte, as its own application sees it, and that was started with what the
// rule for its restart names. KDEV_CHAOS_SEED and KDEV_CHAOS_FOR choose another run;
// `make soak` runs for an hour.
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
	tr := &trace{Dialer: dialer}
	b := newBench(t, tr)
	ctx, cancel := context.WithTimeout(context.Background(), long+10*time.Minute)
	defer cancel()
	b.ctx = ctx
	c := &chaos{bench: b, proxy: p, trace: tr, Rand: rand.New(rand.NewPCG(seed, seed)), files: map[string]engine.File{}}
	b.check = func(e mirror.Event) {
		tr.event(e)
		c.visible(e)
	}
	c.start()
	faults := c.faults()
	const pairs = 3 // at least
	began := time.Now()
	var slowest time.Duration
	rounds, late := 0, 0
	// Each fault at least once, whatever the time.
	for ; rounds < len(faults)+pairs || time.Since(began) < long; rounds++ {
		now := []fault{faults[min(rounds, len(faults)-1)]}
		if rounds >= len(faults) {
			now = c.pair(faults)
		}
		name, took := c.round(now...)
		if slowest = max(slowest, took); took > time.Second {
			late++
			tr.show(t)
		}
		t.Logf("%s: %s: all %d pods equal after %s", time.Since(began).Round(time.Second), name, len(c.running()), took.Round(time.Millisecond))
	}
	t.Logf("seed %d: %d rounds, no divergence; the slowest convergence took %s, %d took more than a second; %d failures, each seen until it was over",
		seed, rounds, slowest.Round(time.Millisecond), late, c.failures.Load())
}

type chaos struct {
	*bench
	*rand.Rand
	proxy *transporttest.Proxy
	trace *trace
	set   string // the ReplicaSet
	files map[string]engine.File

	failures atomic.Int64 // batches and connections that were told as failed
}

// restarting is the rule of all containers.
var restarting = mirror.Hook{Paths: []string{"data.txt"}, Restart: true}

// sidePort is where the sidecars' application listens.
const sidePort = 8081

// start makes a ReplicaSet on the images' own root, each pod with a sidecar of another
// image that is synced as well, and a pod whose folder is a small volume.
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
					Containers: []corev1.Container{
						{Name: "c", Image: image("busybox"), ImagePullPolicy: corev1.PullNever, Resources: corev1.ResourceRequirements{Limits: limits}},
						{Name: "side", Image: image("scratch"), ImagePullPolicy: corev1.PullNever, Command: []string{"/.kdev/agent", "run", "--", "/testapp", fmt.Sprint(":", sidePort)}},
					},
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
	c.bench.start(nil, restarting)
	c.files = c.scan() // the image's own data.txt, which is desired already
	c.settled("the start")
}

// round saves before, between and after faults that are on at the same time, ends them in
// any order, and returns how long it then takes until all running containers are equal.
func (c *chaos) round(faults ...fault) (name string, took time.Duration) {
	c.t.Helper()
	c.forget()
	c.trace.again()
	c.save(1 + c.IntN(4))
	for i, f := range faults {
		if i > 0 {
			name += ", "
		}
		name += f.name
		f.begin()
		c.save(2 + c.IntN(8))
	}
	c.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	for _, f := range faults {
		if f.end != nil {
			f.end()
		}
		c.save(c.IntN(3))
	}
	return name, c.settled(name)
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
	switch c.IntN(11) {
	case 10:
		os.WriteFile(filepath.Join(c.local, "data.txt"), []byte(fmt.Sprint(c.Uint64())), 0o644)
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
		c.update(changed, restarting)
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
	data, err := os.ReadFile(filepath.Join(c.local, "data.txt"))
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Join(lines, "\n") + "\nstarted with " + strings.TrimSpace(string(data))
}

// running are the pods whose containers all run.
func (c *chaos) running() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for name, pod := range c.pods {
		runs := len(pod.Status.ContainerStatuses) == len(pod.Spec.Containers)
		for _, st := range pod.Status.ContainerStatuses {
			runs = runs && st.State.Running != nil
		}
		if pod.DeletionTimestamp == nil && runs {
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
	c.trace.note("all containers run")
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
			for _, port := range ports(pod) {
				got, err := c.tree(pod, port)
				if last[fmt.Sprint(pod, ":", port)] = got; err != nil || got != want {
					return false
				}
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

// ports are where the applications of a pod listen.
func ports(pod string) []int {
	if strings.HasPrefix(pod, "volume") {
		return []int{8080}
	}
	return []int{8080, sidePort}
}

// tree is what an application sees, in the words of want.
func (c *chaos) tree(pod string, port int) (string, error) {
	text, err := c.fetch(pod, port, "/-/tree?dir=/app")
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	started, err := c.fetch(pod, port, "/-/started")
	return strings.Join(lines, "\n") + "\nstarted with " + started, err
}
