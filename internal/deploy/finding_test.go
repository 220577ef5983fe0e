package deploy

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Messages as containerd, CRI-O, the kubelet, the scheduler and the API server
// write them, where a fixture from one cluster cannot have them all.
func TestFindings(t *testing.T) {
	const app = "ghcr.io/shop/app:1"
	run := containerRun{spec: &corev1.Container{Name: "app", Image: app, WorkingDir: "/srv"}, ContainerStatus: corev1.ContainerStatus{Name: "app"}}
	pull := func(said string) *finding { return pullFinding(app, said) }
	start := func(said string) *finding { return startFinding(run, said) }
	pod := &corev1.Pod{}
	place := func(said string) *finding { return (&evidence{pod: pod}).unschedulable(said) }
	config := func(said string) *finding { return (&evidence{pod: pod}).config(said) }
	create := func(said string) *finding {
		return (&evidence{pod: pod, now: time.Unix(100, 0)}).creation(said, time.Unix(0, 0))
	}
	ended := func(code int32, reason string) *finding {
		return exitFinding(run, &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason})
	}
	for _, tc := range []struct {
		got  *finding
		code string
	}{
		{pull(`rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/nope:1": failed to resolve reference "docker.io/library/nope:1": docker.io/library/nope:1: not found`), "image-not-found"},
		{pull(`initializing source docker://ghcr.io/shop/app:1: reading manifest 1 in ghcr.io/shop/app: manifest unknown`), "image-not-found"},
		{pull(`failed to pull and unpack image "docker.io/shop/app:1": failed to resolve reference "docker.io/shop/app:1": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`), "image-unauthorized"},
		{pull(`failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized`), "image-unauthorized"},
		{pull(`unexpected status from HEAD request to https://ghcr.io/v2/shop/app/manifests/1: 403 Forbidden`), "image-unauthorized"},
		{pull(`429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit`), "image-rate-limit"},
		{pull(`no match for platform in manifest: not found`), "image-platform"},
		{pull(`write /var/lib/containerd/io.containerd.content.v1.content/ingest/x/data: no space left on device`), "disk-full"},
		{pull(`Head "https://ghcr.io/v2/shop/app/manifests/1": dial tcp: lookup ghcr.io: no such host`), "registry-unreachable"},
		{pull(`Get "https://ghcr.io/v2/": net/http: TLS handshake timeout`), "registry-unreachable"},
		{pull(`tls: failed to verify certificate: x509: certificate signed by unknown authority`), "registry-unreachable"},
		{pull(`Get "https://10.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client`), "registry-unreachable"},
		{pull(`something else`), "image-pull"},

		{start(`failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "servr": executable file not found in $PATH: unknown`), "command-not-found"},
		{start(`OCI runtime create failed: runc create failed: unable to start container process: exec: "/app/run.sh": stat /app/run.sh: no such file or directory: unknown`), "command-not-found"},
		{start(`exec /app/run.sh: no such file or directory`), "command-not-found"},
		{start(`unable to start container process: exec: "/app/run.sh": permission denied: unknown`), "command-not-executable"},
		{start(`unable to start container process: exec: "/app": is a directory: permission denied: unknown`), "command-not-executable"},
		{start(`standard_init_linux.go:228: exec user process caused: exec format error`), "exec-format"},
		{start(`Error response from daemon: No command specified`), "no-command"},
		{start(`failed to generate container "x" spec: failed to generate spec: no command specified`), "no-command"},
		{start(`unable to start container process: chdir to cwd ("/srv") set in config.json failed: no such file or directory: unknown`), "working-dir"},
		{start(`error mounting "/var/lib/x" to rootfs at "/etc/app.ini": not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)?`), "mount-over-file"},
		{start(`error mounting "/var/lib/x" to rootfs at "/data": create mountpoint for /data mount: mkdir /data: read-only file system: unknown`), "mount-point"},
		{start(`unable to start container process: unable to find user app: no matching entries in passwd file`), "unknown-user"},
		{start(`something else`), "container-start"},

		{config(`configmap "web" not found`), "missing-configmap"},
		{config(`secret "web" not found`), "missing-secret"},
		{config(`couldn't find key PORT in ConfigMap shop/web`), "missing-key"},
		{config(`couldn't find key token in Secret shop/web`), "missing-key"},
		{config(`container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root (pod: "web", container: app)`), "runs-as-root"},
		{config(`failed to sync configmap cache: timed out waiting for the condition`), ""},
		{config(`Variable reference $(X) not defined`), "container-config"},
		{missingObject(`MountVolume.SetUp failed for volume "v" : references non-existent config key: app.ini`), "missing-key"},
		{missingObject(`MountVolume.SetUp failed for volume "v" : secret "tls" not found`), "missing-secret"},

		{place(`0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod.`), "unschedulable-resources"},
		{place(`0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.`), "unschedulable-taint"},
		{place(`0/1 nodes are available: 1 Too many pods.`), "unschedulable-resources"},
		{place(`0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.`), "unschedulable-selector"},
		{place(`0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints.`), "unschedulable-selector"},
		{place(`0/1 nodes are available: 1 node(s) had volume node affinity conflict.`), "unschedulable-volume"},
		{place(`0/1 nodes are available: persistentvolumeclaim "data" not found.`), "missing-claim"},
		{place(`something else`), "unschedulable"},

		{create(`Error creating: pods "web-1" is forbidden: exceeded quota: small, requested: requests.cpu=1, used: requests.cpu=1, limited: requests.cpu=1`), "quota-exceeded"},
		{create(`pods "web-1" is forbidden: failed quota: small: must specify limits.cpu for: app`), "quota-exceeded"},
		{create(`pods "web-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`), "pod-security"},
		{create(`admission webhook "validate.kyverno.svc" denied the request: no latest tags`), "webhook-denied"},
		{create(`Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: context deadline exceeded`), "webhook-failed"},
		{create(`pods "web-1" is forbidden: error looking up service account shop/app: serviceaccount "app" not found`), "missing-serviceaccount"},
		{create(`Pod "web-1" is invalid: spec.containers[0].image: Required value`), "pod-refused"},

		{ended(137, "OOMKilled"), "out-of-memory"},
		{ended(137, "Error"), "killed"},
		{ended(143, "Error"), "killed"},
		{ended(139, "Error"), "crash"},
		{ended(126, "Error"), "command-not-executable"},
		{ended(127, "Error"), "command-not-found"},
		{ended(0, "Completed"), "exited"},
		{ended(1, "Error"), "crash"},
	} {
		got := ""
		if tc.got != nil {
			got = tc.got.code
			if tc.got.hint == "" || tc.got.summary == "" {
				t.Errorf("%s has no hint or summary", got)
			}
		}
		if got != tc.code {
			t.Errorf("got %s, want %s: %+v", got, tc.code, tc.got)
		}
	}
}

// What mends itself is no problem at its first sight, and is one when it stays.
// TestHintsForOurOwnImages: the manifest does not name an image of kdev's by tag and
// digest, so the way on is not there.
func TestHintsForOurOwnImages(t *testing.T) {
	own := "/shop/web:111111111111@sha256:" + strings.Repeat("1", 64)
	for _, c := range []struct{ image, said, want string }{
		{"ghcr.io/acme" + own, "ghcr.io/acme/shop/web: not found", "`registry:`"},
		{"ghcr.io/acme" + own, "dial tcp: lookup ghcr.io: no such host", "`registry:`"},
		{"localhost:5001" + own, "not found", "pullable again"},
		{"localhost:5001" + own, "connection refused", "kdev-registry"},
		{"ghcr.io/acme/web:2@sha256:" + strings.Repeat("1", 64), "not found", "in the manifest"},
	} {
		if f := pullFinding(c.image, c.said); !strings.Contains(f.hint, c.want) {
			t.Errorf("%s, %s: %q, want %q", c.image, c.said, f.hint, c.want)
		}
	}
}

func TestPatience(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) metav1.Time { return metav1.NewTime(start.Add(time.Duration(s) * time.Second)) }
	event := func(reason, message string, count int32) *corev1.Event {
		return &corev1.Event{Type: corev1.EventTypeWarning, Reason: reason, Message: message, Count: count, LastTimestamp: at(0)}
	}
	pod := func(phase corev1.PodPhase, st corev1.ContainerStatus) *corev1.Pod {
		st.Name = "app"
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", CreationTimestamp: at(0)},
			Spec:   corev1.PodSpec{NodeName: "n", RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/shop/app:1", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}}}}},
			Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{st}}}
	}
	waiting := func(reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	crashed := func(restarts int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{RestartCount: restarts, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}}}
	}
	backing := corev1.ContainerStatus{RestartCount: 1, State: waiting("CrashLoopBackOff", "").State, LastTerminationState: crashed(0).State}
	again := corev1.ContainerStatus{RestartCount: 3, LastTerminationState: crashed(0).State, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(0)}}}
	lookup := "failed to resolve reference: dial tcp: lookup ghcr.io: no such host"
	unplaced := pod(corev1.PodPending, corev1.ContainerStatus{})
	unplaced.Spec.NodeName = ""
	unplaced.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient cpu.", LastTransitionTime: at(0)}}
	lost := pod(corev1.PodRunning, corev1.ContainerStatus{})
	lost.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: at(1)}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
	unready := pod(corev1.PodRunning, corev1.ContainerStatus{})
	unready.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", LastTransitionTime: at(1)}}
	full := pod(corev1.PodFailed, corev1.ContainerStatus{})
	full.Status.Reason, full.Status.Message = "Evicted", "The node was low on resource: ephemeral-storage."

	for _, tc := range []struct {
		name   string
		pod    *corev1.Pod
		events []*corev1.Event
		second int // when it is looked at
		code   string
		again  int // when it wants to be looked at again
	}{
		{"creating", pod(corev1.PodPending, waiting("ContainerCreating", "")), nil, 60, "", 0},
		{"first pull fails for the network", pod(corev1.PodPending, waiting("ErrImagePull", lookup)), []*corev1.Event{event("Failed", "Failed to pull image: "+lookup, 1)}, 1, "", 0},
		{"second pull fails for the network", pod(corev1.PodPending, waiting("ErrImagePull", lookup)), []*corev1.Event{event("Failed", "Failed to pull image: "+lookup, 2)}, 20, "registry-unreachable", 0},
		{"backing off after the network", pod(corev1.PodPending, waiting("ImagePullBackOff", `Back-off pulling image "ghcr.io/shop/app:1"`)), []*corev1.Event{event("Failed", "Failed to pull image: "+lookup, 1)}, 20, "registry-unreachable", 0},
		{"first pull finds no image", pod(corev1.PodPending, waiting("ErrImagePull", "failed to resolve reference: not found")), nil, 1, "image-not-found", 0},
		{"first crash", pod(corev1.PodRunning, crashed(0)), nil, 1, "", 0},
		{"second crash", pod(corev1.PodRunning, crashed(1)), nil, 1, "crash", 0},
		{"backing off", pod(corev1.PodRunning, backing), nil, 1, "crash", 0},
		{"between two crashes", pod(corev1.PodRunning, again), nil, 3, "crash", 10},
		{"running again for a while", pod(corev1.PodRunning, again), nil, 12, "", 0},
		{"not placed yet", unplaced, nil, 3, "", 15},
		{"not placed for long", unplaced, nil, 16, "unschedulable-resources", 0},
		{"no network yet", pod(corev1.PodPending, waiting("ContainerCreating", "")), []*corev1.Event{event("FailedCreatePodSandBox", "cni plugin not initialized", 1)}, 2, "", 10},
		{"no network for long", pod(corev1.PodPending, waiting("ContainerCreating", "")), []*corev1.Event{event("FailedCreatePodSandBox", "cni plugin not initialized", 9)}, 11, "pod-network", 0},
		{"the kubelet's cache fills", pod(corev1.PodPending, waiting("ContainerCreating", "")), []*corev1.Event{event("FailedMount", `MountVolume.SetUp failed for volume "v" : object "shop"/"x" not registered`, 3)}, 9, "", 0},
		{"a mount fails", pod(corev1.PodPending, waiting("ContainerCreating", "")), []*corev1.Event{event("FailedMount", `MountVolume.SetUp failed for volume "v" : hostPath type check failed: /x is not a directory`, 1)}, 1, "volume-mount", 0},
		{"a mount failed once", pod(corev1.PodPending, waiting("ContainerCreating", "")), []*corev1.Event{event("FailedMount", `MountVolume.SetUp failed for volume "v" : x`, 1), {Reason: "Pulled"}}, 5, "", 0},
		{"node gone", lost, []*corev1.Event{event("NodeNotReady", "Node is not ready", 1)}, 1, "node-not-ready", 0},
		{"node gone, and the event too", lost, nil, 1, "node-not-ready", 0},
		{"node gone, and a reason stays", unready, []*corev1.Event{{Reason: "NodeNotReady", Message: "Node is not ready", LastTimestamp: at(1)}}, 1, "node-not-ready", 0},
		{"node back", unready, []*corev1.Event{{Reason: "NodeNotReady", Message: "Node is not ready", LastTimestamp: at(0)}}, 1, "", 0},
		{"evicted for the disk", full, nil, 1, "evicted", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := &evidence{workload: Ref{"Deployment", "web"}, pod: tc.pod, events: tc.events, now: at(tc.second).Time}
			f := e.explain()
			got := ""
			if f != nil {
				got = f.code
			}
			if got != tc.code {
				t.Errorf("got %q, want %q: %+v", got, tc.code, f)
			}
			want := time.Time{}
			if tc.again > 0 {
				want = at(tc.again).Time
			}
			if !e.again.Equal(want) {
				t.Errorf("looks again at %v, want %v", e.again, want)
			}
		})
	}
}

// Each field that Pod Security names is one to set, so that none is cut away.
func TestPodSecurityIsToldWhole(t *testing.T) {
	said := `pods "web-1" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "web" must set securityContext.allowPrivilegeEscalation=false), ` +
		`unrestricted capabilities (container "web" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "web" must set securityContext.runAsNonRoot=true), ` +
		`seccompProfile (pod or container "web" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")`
	e := &evidence{pod: &corev1.Pod{}, now: time.Unix(100, 0)}
	out := strings.Join(e.creation("Error creating: "+said, time.Unix(0, 0)).chain, "\n")
	if !strings.Contains(out, "runAsNonRoot=true") || !strings.HasSuffix(out, `or "Localhost")`) {
		t.Errorf("%s", out)
	}
	for line := range strings.Lines(out) {
		if len(line) > 175 {
			t.Errorf("a line of %d: %s", len(line), line)
		}
	}
}
