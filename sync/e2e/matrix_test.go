//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

func pointer[T any](v T) *T { return &v }

// identities are the users that a container may have.
var identities = map[string]corev1.SecurityContext{
	"root":      {},
	"drop":      {Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
	"user":      {RunAsUser: pointer(int64(1000)), RunAsGroup: pointer(int64(1000))},
	"arbitrary": {RunAsUser: pointer(int64(1000620000)), RunAsGroup: pointer(int64(0))},
	"restricted": {
		RunAsUser: pointer(int64(65532)), RunAsGroup: pointer(int64(65532)), RunAsNonRoot: pointer(true), AllowPrivilegeEscalation: pointer(false),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	},
}

// A setting is where the files are in a container, and what is expected for root
// and for others: a problem's code, or "" where files arrive.
type setting struct {
	name         string
	dir          string // with the files
	readOnlyRoot bool
	volume       *corev1.VolumeSource // mounted over /app
	root, others string
}

func settings() []setting {
	empty := &corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	return []setting{
		{name: "image", dir: "/app", others: "sync-denied"},
		{name: "image-open", dir: "/open"}, // as the directory entries of the dev layer make it
		{name: "read-only-root-app", dir: "/app", readOnlyRoot: true, root: "sync-read-only", others: "sync-read-only"},
		{name: "read-only-root", dir: "/open", readOnlyRoot: true, root: "sync-read-only", others: "sync-read-only"},
		{name: "empty-dir", dir: "/app", volume: empty},
		{name: "read-only-root-empty-dir", dir: "/app", readOnlyRoot: true, volume: empty},
		{name: "config-map", dir: "/app", volume: &corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "matrix"}}}, root: "sync-read-only", others: "sync-read-only"},
		{name: "claim", dir: "/app", volume: &corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}},
	}
}

// Every kind of image with every kind of user and mount: files arrive before the
// application starts, or the refusal names what is in the way.
func TestMatrix(t *testing.T) {
	core := client.Core.CoreV1()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "matrix"}, Data: map[string]string{"data.txt": "config\n"}}
	if _, err := core.ConfigMaps(namespace).Get(t.Context(), cm.Name, metav1.GetOptions{}); err != nil {
		if _, err := core.ConfigMaps(namespace).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// A volume for each user: in one that all share, what root makes first is no place for
	// the others.
	for user := range identities {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: claimOf(user)}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		}}
		if _, err := core.PersistentVolumeClaims(namespace).Get(t.Context(), claim.Name, metav1.GetOptions{}); err != nil {
			if _, err := core.PersistentVolumeClaims(namespace).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for base := range bases {
		for _, dir := range []string{"/app", "/open"} {
			t.Run(base+dir, func(t *testing.T) { matrix(t, base, dir) })
		}
	}
}

func claimOf(user string) string { return "matrix-" + strings.ToLower(user) }

// matrix runs one pod for each user, in it one container for each setting.
func matrix(t *testing.T, base, dir string) {
	b := newBench(t, nil)
	b.image = map[string]engine.File{dir + "/data.txt": b.image["/app/data.txt"]}
	b.gen = 1
	b.m.SetDesired("web", 1, map[string]engine.File{
		dir + "/data.txt": *b.write("data.txt", "synced\n", 0o644), dir + "/sub/dir/new.txt": *b.write("new.txt", "new\n", 0o644),
	}, nil)
	type one struct {
		pod, container string
		port           int
		want           string
	}
	var all []one
	for user, security := range identities {
		var in []one
		pod := b.pod(strings.ToLower(user), base, func(pod *corev1.Pod) {
			template := pod.Spec.Containers[0]
			pod.Spec.Containers = nil
			pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: pointer(int64(2000))}
			for i, s := range settings() {
				if s.dir != dir {
					continue
				}
				c := *template.DeepCopy()
				c.Name = s.name
				port := 8100 + i
				// No entrypoint of the image sets the port, so the whole command is given.
				c.Command = []string{"/.kdev/agent", "run", "--", "/testapp", fmt.Sprintf(":%d", port)}
				security := *security.DeepCopy()
				security.ReadOnlyRootFilesystem = pointer(s.readOnlyRoot)
				c.SecurityContext = &security
				if s.volume != nil {
					volume := *s.volume.DeepCopy()
					if volume.PersistentVolumeClaim != nil {
						volume.PersistentVolumeClaim.ClaimName = claimOf(user)
					}
					pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: s.name, VolumeSource: volume})
					c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: s.name, MountPath: dir})
				}
				pod.Spec.Containers = append(pod.Spec.Containers, c)
				want := s.others
				if user == "root" || user == "drop" {
					want = s.root
				}
				in = append(in, one{container: s.name, port: port, want: want})
			}
		})
		for _, o := range in {
			o.pod = pod.Name
			all = append(all, o)
		}
	}
	for _, o := range all {
		e := b.awaitEvent(o.pod+" "+o.container, func(e mirror.Event) bool {
			return e.Pod == o.pod && e.Container == o.container && (e.Kind == mirror.Synced || e.Kind == mirror.Failed)
		})
		switch {
		case o.want == "" && e.Kind == mirror.Failed:
			t.Errorf("%s %s: %v", o.pod, o.container, e.Problem)
		case o.want == "":
			came := b.awaitEvent(o.pod+" "+o.container+" connected", func(e mirror.Event) bool {
				return e.Pod == o.pod && e.Container == o.container && e.Kind == mirror.Connected
			})
			if !came.Unsynced { // a busy machine may be too late for the gate, and it says so
				b.awaitEvent(o.pod+" "+o.container+" running", func(e mirror.Event) bool {
					return e.Pod == o.pod && e.Container == o.container && e.Kind == mirror.Started
				})
			}
			if got := b.getFrom(o.pod, o.port, dir+"/sub/dir/new.txt"); got != "new\n" {
				t.Errorf("%s %s: new.txt holds %q", o.pod, o.container, got)
			}
			if got := b.getFrom(o.pod, o.port, "/-/started"); dir == "/app" && !came.Unsynced && got != "synced" {
				t.Errorf("%s %s: started with %q", o.pod, o.container, got)
			}
		case e.Kind != mirror.Failed || e.Problem.Code != o.want:
			t.Errorf("%s %s: %v %v, want %s", o.pod, o.container, e.Kind, e.Problem, o.want)
		case e.Problem.Hint == "" || e.Problem.Where == "":
			t.Errorf("%s %s: %+v", o.pod, o.container, e.Problem)
		}
	}
}

// A namespace that enforces restricted Pod Security takes pods with the agent, and
// they take files.
func TestRestrictedPodSecurity(t *testing.T) {
	for base := range bases {
		t.Run(base, func(t *testing.T) {
			b := newBenchIn(t, nil, restricted)
			b.image = map[string]engine.File{"/open/data.txt": b.image["/app/data.txt"]}
			pod := b.pod("restricted", base, func(pod *corev1.Pod) {
				security := identities["restricted"]
				pod.Spec.Containers[0].SecurityContext = &security
			})
			b.gen = 1
			b.m.SetDesired("web", 1, map[string]engine.File{"/open/data.txt": *b.write("data.txt", "synced\n", 0o644)}, nil)
			b.awaitEvent("the files", func(e mirror.Event) bool { return e.Kind == mirror.Synced && e.Files == 1 })
			if got := b.get(pod.Name, "/open/data.txt"); got != "synced\n" {
				t.Errorf("data.txt holds %q", got)
			}
		})
	}
}
