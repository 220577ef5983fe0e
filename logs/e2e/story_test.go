//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestEverythingThatHappensToPods reads a namespace while its pods come, are
// replaced, scaled, crash and go, and holds what was shown against what the node's
// runtime wrote.
func TestEverythingThatHappensToPods(t *testing.T) {
	ns := newNamespace(t)
	truth := newOracle(t, ns)
	all := logs(t, ns, ".", "--max-log-requests=100")

	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"a deployment, init containers included", func(t *testing.T) {
			spec := podSpec(container("app", talk(forever, 2, 120, "")), container("side", talk(forever, 1, 60, "")))
			spec.InitContainers = []corev1.Container{container("prepare", talk(50, 50, 40, ""))}
			makeDeployment(t, ns, "web", 3, spec)
			awaitPods(t, ns, "three replicas", allRun(3))
		}},
		{"a rollout", func(t *testing.T) {
			patch(t, ns, "web", map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]string{"rollout": "2"}}}}})
			awaitRollout(t, ns, "web")
		}},
		{"scaled up and down", func(t *testing.T) {
			for _, n := range []int{5, 1} {
				patch(t, ns, "web", map[string]any{"spec": map[string]any{"replicas": n}})
				awaitRollout(t, ns, "web")
			}
		}},
		{"a container that crashes and runs again", func(t *testing.T) {
			makePod(t, ns, "crash", podSpec(container("app", talk(200, 20, 80, `syswrite(STDOUT, "about to crash\n"); exit 3`))))
			awaitPods(t, ns, "two restarts", func(pods []corev1.Pod) bool {
				for _, p := range pods {
					if p.Name == "crash" && len(p.Status.ContainerStatuses) > 0 {
						return p.Status.ContainerStatuses[0].RestartCount >= 2
					}
				}
				return false
			})
		}},
		{"a job of a cronjob", func(t *testing.T) { runCronJob(t, ns) }},
		{"a pod of a stateful set, under the same name again", func(t *testing.T) {
			makeStatefulSet(t, ns, "db", podSpec(container("db", talk(forever, 3, 200, ""))))
			first := awaitPods(t, ns, "db-0", running("db-0", ""))
			uid := ""
			for _, p := range first {
				if p.Name == "db-0" {
					uid = string(p.UID)
				}
			}
			if err := client.Core.CoreV1().Pods(ns).Delete(t.Context(), "db-0", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			awaitPods(t, ns, "db-0 again", running("db-0", uid))
		}},
		{"a debug container", func(t *testing.T) {
			pod, err := client.Core.CoreV1().Pods(ns).Get(t.Context(), "db-0", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			c := container("debug", talk(30, 30, 40, stay))
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: c.Name, Image: c.Image, Command: c.Command, ImagePullPolicy: c.ImagePullPolicy}})
			if _, err := client.Core.CoreV1().Pods(ns).UpdateEphemeralContainers(t.Context(), "db-0", pod, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			all.expect("db-0 debug ")
		}},
		{"a line longer than the runtime's buffer, and bytes that are no text", func(t *testing.T) {
			makePod(t, ns, "odd", podSpec(container("app", []string{"perl", "-e", `syswrite(STDOUT, ("x" x 100000) . "\n"); syswrite(STDOUT, "\xff\xfe \x01 tab\there\n"); syswrite(STDERR, "to stderr\n"); ` + stay})))
			all.expect("odd app", "to stderr", "Z done\n")
		}},
	}
	for _, s := range steps {
		if !t.Run(s.name, s.run) {
			return
		}
	}
	if err := deleteAll(ns); err != nil {
		t.Fatal(err)
	}
	awaitPods(t, ns, "no pod is left", none)
	want := truth.stop()
	all.await("as many lines as were written", func(string) bool { return total(all.shown()) >= total(want) })
	if code := all.interrupt(); code != 130 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
	same(t, want, all.shown())
	t.Logf("%d lines of %d containers", total(want), len(want))
}

// A query goes by owners: what a workload's pods are labelled with may change, and
// its neighbours may carry the same labels.
func TestQueriesGoByOwners(t *testing.T) {
	ns := newNamespace(t)
	makeDeployment(t, ns, "web", 1, podSpec(container("app", talk(20, 20, 40, stay))))
	// A selector would take it for the deployment's.
	labelledPod(t, ns, "twin", map[string]string{"app": "web"}, podSpec(container("app", talk(20, 20, 40, stay))))
	makePod(t, ns, "lonely", podSpec(container("app", talk(20, 20, 40, stay))))
	pods := awaitPods(t, ns, "three pods", allRun(3))

	web := logs(t, ns, "deploy/web")
	web.expect("line 20 of web-", "done")
	// Taken out of its service by hand, as one does to look at it: still the deployment's
	// until the controller lets it go; then a new one stands in for it.
	for _, p := range pods {
		if p.Labels["app"] == "web" && len(p.OwnerReferences) > 0 {
			label := fmt.Appendf(nil, `{"metadata":{"labels":{"hand":"on"}}}`)
			if _, err := client.Core.CoreV1().Pods(ns).Patch(t.Context(), p.Name, types.StrategicMergePatchType, label, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	patch(t, ns, "web", map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]string{"tier": "front"}}}}})
	awaitRollout(t, ns, "web")
	web.await("the new pod's lines", func(out string) bool { return strings.Count(out, "Z done\n") == 2 })
	web.interrupt()
	for _, stranger := range []string{"twin", "lonely"} {
		if strings.Contains(web.text(), stranger) {
			t.Errorf("deploy/web shows %s", stranger)
		}
	}

	runCronJob(t, ns)
	if cron := logs(t, ns, "cronjob/report", "--no-follow"); cron.code() != 0 || !strings.Contains(cron.text(), "line 10 of report-by-hand") || strings.Contains(cron.text(), "web-") {
		t.Errorf("cronjob/report: code %d\n%s\n%s", cron.code(), cron.text(), cron.err)
	}
	if grouped := logs(t, ns, "deployment.apps/web", "--no-follow"); grouped.code() != 0 || !strings.Contains(grouped.text(), "line 20 of web-") || strings.Contains(grouped.text(), "twin") {
		t.Errorf("deployment.apps/web: code %d\n%s\n%s", grouped.code(), grouped.text(), grouped.err)
	}
	if code := logs(t, ns, "deploy/absent").code(); code != 1 {
		t.Errorf("an absent deployment: exit code %d", code)
	}
}

// What is known of a crash is shown without being asked for.
func TestCrash(t *testing.T) {
	ns := newNamespace(t)
	// The first run crashes, the second stays.
	spec := podSpec(container("app", []string{"sh", "-c", `if [ -e /data/ran ]; then echo second run; exec sleep 600; fi; touch /data/ran; echo first run; echo the reason >&2; exit 7`}))
	spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	makePod(t, ns, "crash", spec)
	awaitPods(t, ns, "the second run", func(pods []corev1.Pod) bool {
		return len(pods) == 1 && len(pods[0].Status.ContainerStatuses) == 1 &&
			pods[0].Status.ContainerStatuses[0].RestartCount == 1 && pods[0].Status.ContainerStatuses[0].State.Running != nil
	})
	const first, second = "first run\n", "second run\n"
	follow := logs(t, ns, ".")
	follow.expect(first, "the reason\n", second)
	follow.interrupt()
	if previous := logs(t, ns, ".", "--previous"); previous.code() != 0 || !strings.Contains(previous.text(), first) || strings.Contains(previous.text(), second) {
		t.Errorf("--previous: code %d\n%s", previous.code(), previous.text())
	}
	if until := logs(t, ns, ".", "--until=second run", "--for=1m"); until.code() != 0 {
		t.Errorf("--until REGEX: code %d\n%s", until.code(), until.text())
	}
	if until := logs(t, ns, ".", "--until=ready", "--for=1m"); until.code() != 0 {
		t.Errorf("--until ready: code %d\n%s", until.code(), until.text())
	}
	if until := logs(t, ns, ".", "--until=never written", "--for=1s"); until.code() != 4 {
		t.Errorf("--until that is not reached: code %d\n%s", until.code(), until.text())
	}
	events := command(t, binary, "logs", "-n", ns, ".", "--events", "--merge")
	events.expect("Normal Started", "Normal Scheduled", "the reason")
	events.interrupt()
}

// runCronJob makes a cronjob that never is due, and runs its job by hand.
func runCronJob(t *testing.T, ns string) {
	t.Helper()
	spec := podSpec(container("report", talk(10, 10, 60, "")))
	spec.RestartPolicy = corev1.RestartPolicyNever
	job := batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}}
	cron, err := client.Core.BatchV1().CronJobs(ns).Create(t.Context(), &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "report"},
		Spec: batchv1.CronJobSpec{Schedule: "0 0 29 2 *", JobTemplate: batchv1.JobTemplateSpec{Spec: job}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Core.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{Spec: job, ObjectMeta: metav1.ObjectMeta{Name: "report-by-hand",
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	awaitPods(t, ns, "the job has run", func(pods []corev1.Pod) bool {
		for _, p := range pods {
			if strings.HasPrefix(p.Name, "report-by-hand") {
				return p.Status.Phase == corev1.PodSucceeded
			}
		}
		return false
	})
}

func makeStatefulSet(t *testing.T, ns, name string, spec corev1.PodSpec) {
	t.Helper()
	labels := map[string]string{"app": name}
	_, err := client.Core.AppsV1().StatefulSets(ns).Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{ServiceName: name, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func running(name, otherThan string) func([]corev1.Pod) bool {
	return func(pods []corev1.Pod) bool {
		for _, p := range pods {
			if p.Name == name && string(p.UID) != otherThan && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil {
				return true
			}
		}
		return false
	}
}

func patch(t *testing.T, ns, deployment string, change map[string]any) {
	t.Helper()
	b, err := json.Marshal(change)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Core.AppsV1().Deployments(ns).Patch(t.Context(), deployment, types.StrategicMergePatchType, b, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitRollout waits until a deployment is as it is wanted and its old pods are gone.
func awaitRollout(t *testing.T, ns, name string) {
	t.Helper()
	awaitPods(t, ns, "rollout of "+name, func(pods []corev1.Pod) bool {
		d, err := client.Core.AppsV1().Deployments(ns).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil || d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas != *d.Spec.Replicas || d.Status.AvailableReplicas != *d.Spec.Replicas {
			return false
		}
		n := 0
		for _, p := range pods {
			if p.Labels["app"] == name && len(p.OwnerReferences) > 0 {
				n++
			}
		}
		return n == int(*d.Spec.Replicas)
	})
}

func deleteAll(ns string) error {
	ctx := context.Background()
	all := metav1.ListOptions{}
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background}
	for _, drop := range []func() error{
		func() error { return client.Core.AppsV1().Deployments(ns).DeleteCollection(ctx, opts, all) },
		func() error { return client.Core.AppsV1().StatefulSets(ns).DeleteCollection(ctx, opts, all) },
		func() error { return client.Core.BatchV1().CronJobs(ns).DeleteCollection(ctx, opts, all) },
		func() error { return client.Core.BatchV1().Jobs(ns).DeleteCollection(ctx, opts, all) },
		func() error { return client.Core.CoreV1().Pods(ns).DeleteCollection(ctx, opts, all) },
	} {
		if err := drop(); err != nil {
			return err
		}
	}
	return nil
}
