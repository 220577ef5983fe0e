package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// Repositories of node images: kind's own, and the one that hack makes on
// machines that reach no container registry.
const (
	kindRepository  = "kindest/node"
	localRepository = "kdev.dev/node"
)

// nodeImage chooses the image that nodes are made of: the one asked for; else
// kind's default when the engine has it or can pull it; else the newest that was
// made on this machine.
//
// Problems: node-image-missing.
func (m *manager) nodeImage(ctx context.Context) (string, error) {
	if m.NodeImage != "" {
		if m.engine.hasImage(ctx, m.NodeImage) {
			return m.NodeImage, nil
		}
		m.say("pulling node image %s", m.NodeImage)
		if err := m.engine.pull(ctx, m.NodeImage); err != nil {
			return "", missingImage(m.NodeImage, err)
		}
		return m.NodeImage, nil
	}
	wanted := defaults.Image
	if m.Version != "" {
		local, err := m.newestLocal(ctx, m.Version, kindRepository, localRepository)
		if local != "" || err != nil {
			return local, err
		}
		wanted = kindRepository + ":v" + strings.TrimPrefix(m.Version, "v")
		if tagOf(defaults.Image) != "" && matches(tagOf(defaults.Image), m.Version) {
			wanted = defaults.Image
		}
	}
	// An image that was loaded from a file has no digest.
	for _, ref := range []string{wanted, strings.Split(wanted, "@")[0]} {
		if m.engine.hasImage(ctx, ref) {
			return ref, nil
		}
	}
	m.say("pulling node image %s", strings.Split(wanted, "@")[0])
	failed := m.engine.pull(ctx, wanted)
	if failed == nil {
		return wanted, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if m.Version == "" {
		local, err := m.newestLocal(ctx, "", localRepository)
		if err != nil {
			return "", err
		}
		if local != "" {
			m.say("it cannot be pulled here: using %s", local)
			return local, nil
		}
	}
	return "", missingImage(wanted, failed)
}

func missingImage(ref string, err error) error {
	return &problem.Problem{Code: "node-image-missing", Summary: "cannot get the node image " + strings.Split(ref, "@")[0], Err: err,
		Hint: "check the network and the engine's proxy; `docker pull` should say the same"}
}

// newestLocal is the newest image on the engine whose tag is of the version.
func (m *manager) newestLocal(ctx context.Context, wanted string, repositories ...string) (string, error) {
	var best string
	var bestVersion *version.Version
	for _, repository := range repositories {
		tags, err := m.engine.images(ctx, repository)
		if err != nil {
			return "", err
		}
		for _, tag := range tags {
			v, err := version.ParseGeneric(tag)
			if err != nil || !matches(tag, wanted) {
				continue
			}
			if bestVersion == nil || bestVersion.LessThan(v) {
				best, bestVersion = repository+":"+tag, v
			}
		}
	}
	return best, nil
}

// matches says whether a tag "v1.36.3" is of a version "1.36" or "v1.36.3".
func matches(tag, wanted string) bool {
	tag, wanted = strings.TrimPrefix(tag, "v"), strings.TrimPrefix(wanted, "v")
	return wanted == "" || tag == wanted || strings.HasPrefix(tag, wanted+".")
}

func tagOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[i+1:]
	}
	return ""
}

// kindConfig is the configuration for kind on this machine.
func (m *manager) kindConfig(ctx context.Context, image string) ([]byte, error) {
	about, err := m.engine.info(ctx)
	if err != nil {
		return nil, err
	}
	facts := machine{nodes: max(m.Nodes, 1), cgroupV1: about.CgroupVersion == "1"}
	if v, err := version.ParseGeneric(tagOf(image)); err == nil {
		facts.kubernetes = v
	}
	if facts.lacksSysResource, err = m.lacksSysResource(ctx, about, image); err != nil {
		return nil, err
	}
	return facts.config()
}

// lacksSysResource says whether privileged containers of the engine miss the
// capability to lower an OOM score. Only a container can tell, and it costs half
// a second, so it is asked only where the host or the engine's runtime is out of
// the ordinary.
func (m *manager) lacksSysResource(ctx context.Context, about info, image string) (bool, error) {
	const sysResource = 1 << 24 // CAP_SYS_RESOURCE, linux/capability.h
	ordinary := []string{"", "runc", "crun", "io.containerd.runc.v2"}
	status, err := m.status()
	if own, errOwn := parseCapabilities(string(status)); slices.Contains(ordinary, about.DefaultRuntime) &&
		(err != nil || errOwn != nil || own&sysResource != 0) {
		return false, nil
	}
	set, err := m.engine.capabilities(ctx, image)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, &problem.Problem{Code: "engine-unprivileged", Summary: "the container engine cannot run privileged containers, which nodes are", Err: err,
			Hint: "run the engine on a host or virtual machine that has all capabilities"}
	}
	return set&sysResource == 0, nil
}

// parseCapabilities reads the bounding set from /proc/*/status.
func parseCapabilities(status string) (uint64, error) {
	for line := range strings.Lines(status) {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("no CapBnd in %q", status)
}

// machine holds the facts that the configuration follows from.
type machine struct {
	nodes            int
	cgroupV1         bool
	lacksSysResource bool
	kubernetes       *version.Version // nil when the image's tag does not tell
}

func (f machine) config() ([]byte, error) {
	kubelet := map[string]any{
		"kind": "KubeletConfiguration",
		// An inner loop pulls many small images at once, from next door.
		"serializeImagePulls":   false,
		"maxParallelImagePulls": 8,
		"registryPullQPS":       0,
		"maxPods":               250, // a node's podCIDR is a /24
	}
	if f.cgroupV1 && (f.kubernetes == nil || f.kubernetes.AtLeast(version.MajorMinor(1, 35))) {
		kubelet["failCgroupV1"] = false // KEP-5573: from 1.35 the kubelet refuses cgroup v1 otherwise
	}
	patch, err := yaml.Marshal(kubelet)
	if err != nil {
		return nil, err
	}
	nodes := []map[string]any{{"role": "control-plane"}}
	for range f.nodes - 1 {
		nodes = append(nodes, map[string]any{"role": "worker"})
	}
	return yaml.Marshal(map[string]any{
		"apiVersion":              "kind.x-k8s.io/v1alpha4",
		"kind":                    "Cluster",
		"nodes":                   nodes,
		"kubeadmConfigPatches":    []string{string(patch)},
		"containerdConfigPatches": f.containerd(),
	})
}

// containerd returns one patch per version of containerd's configuration; kind
// applies the one that matches the node image's.
func (f machine) containerd() []string {
	registry := "config_path = \"/etc/containerd/certs.d\"\n"
	oom := ""
	if f.lacksSysResource {
		oom = "restrict_oom_score_adj = true\n"
	}
	v2 := "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n" + registry
	if oom != "" {
		v2 += "[plugins.\"io.containerd.grpc.v1.cri\"]\n" + oom
	}
	patches := []string{v2}
	for _, v := range []int{3, 4} {
		patch := fmt.Sprintf("version = %d\n[plugins.\"io.containerd.cri.v1.images\".registry]\n%s", v, registry)
		if oom != "" {
			patch += "[plugins.\"io.containerd.cri.v1.runtime\"]\n" + oom
		}
		patches = append(patches, patch)
	}
	return patches
}
