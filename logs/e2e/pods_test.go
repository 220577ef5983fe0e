//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kdev-io/kdev/internal/cluster/clustertest"
)

// patience bounds every wait: far more than anything takes on a slow machine.
const patience = 3 * time.Minute

// newNamespace makes a namespace that goes with the test.
func newNamespace(t testing.TB) string {
	t.Helper()
	ns, err := client.Core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "logs-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		if err := client.Core.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Error(err)
		}
	})
	return ns.Name
}

// talk is a program that writes numbered lines: count of them, so many every
// 10 ms, each of about size bytes; then what end says, in Perl.
func talk(count, each, size int, end string) []string {
	script := `my ($count, $each, $size) = @ARGV;
$SIG{TERM} = sub { syswrite(STDOUT, "bye\n"); exit 0 };
my ($n, $fill) = (0, "." x $size);
while ($n < $count) {
	my $out = "";
	for (1 .. $each) { last if $n == $count; $n++; $out .= substr("line $n of $ENV{HOSTNAME} $fill", 0, $size) . "\n" }
	while (length $out) { my $w = syswrite(STDOUT, $out); substr($out, 0, $w, "") }
	select(undef, undef, undef, 0.01) if $n < $count && $each < 1000;
}
` + end
	return []string{"perl", "-e", script, fmt.Sprint(count), fmt.Sprint(each), fmt.Sprint(size)}
}

// steady is a program that writes count numbered lines of about size bytes, rate of
// them a second by the machine's clock.
func steady(count, rate, size int) []string {
	script := `my ($count, $rate, $size) = @ARGV;
sub uptime { open(my $f, "<", "/proc/uptime") or die; my ($s) = split(" ", <$f>); return $s }
my ($n, $fill, $start) = (0, "." x $size, uptime());
while ($n < $count) {
	my ($due, $out) = (int((uptime() - $start) * $rate), "");
	$due = $count if $due > $count;
	while ($n < $due) { $n++; $out .= substr("line $n of $ENV{HOSTNAME} $fill", 0, $size) . "\n" }
	while (length $out) { my $w = syswrite(STDOUT, $out); substr($out, 0, $w, "") }
	select(undef, undef, undef, 0.02) if $n < $count;
}
sleep 1 while 1;`
	return []string{"perl", "-e", script, fmt.Sprint(count), fmt.Sprint(rate), fmt.Sprint(size)}
}

// stay is an end of talk: wait for SIGTERM.
const stay = `syswrite(STDOUT, "done\n"); sleep 1 while 1;`

// forever is more lines than a test sees.
const forever = 1 << 30

// container runs a command.
func container(name string, command []string) corev1.Container {
	return corev1.Container{Name: name, Image: clustertest.Image, ImagePullPolicy: corev1.PullIfNotPresent, Command: command}
}

// podSpec holds containers and stops without delay.
func podSpec(containers ...corev1.Container) corev1.PodSpec {
	grace, off := int64(2), false
	return corev1.PodSpec{Containers: containers, TerminationGracePeriodSeconds: &grace, EnableServiceLinks: &off, AutomountServiceAccountToken: &off}
}

func makePod(t testing.TB, namespace, name string, spec corev1.PodSpec) *corev1.Pod {
	t.Helper()
	return labelledPod(t, namespace, name, map[string]string{"app": name}, spec)
}

func labelledPod(t testing.TB, namespace, name string, labels map[string]string, spec corev1.PodSpec) *corev1.Pod {
	t.Helper()
	pod, err := client.Core.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func makeDeployment(t testing.TB, namespace, name string, replicas int32, spec corev1.PodSpec) *appsv1.Deployment {
	t.Helper()
	labels := map[string]string{"app": name}
	d, err := client.Core.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// awaitPods waits until ok is true of the pods of a namespace.
func awaitPods(t testing.TB, namespace, what string, ok func([]corev1.Pod) bool) []corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		list, err := client.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err == nil && ok(list.Items) {
			return list.Items
		}
		if err == nil {
			var w watch.Interface
			w, err = client.Core.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
			if err == nil {
				select {
				case <-w.ResultChan():
				case <-ctx.Done():
				}
				w.Stop()
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: did not come; last error %v, pods:\n%s", what, err, states(list))
		}
	}
}

func states(list *corev1.PodList) string {
	var b strings.Builder
	if list != nil {
		for _, p := range list.Items {
			fmt.Fprintf(&b, "%s %s %v\n", p.Name, p.Status.Phase, p.Status.ContainerStatuses)
		}
	}
	return b.String()
}

// allRun says that n pods are there whose containers all run.
func allRun(n int) func([]corev1.Pod) bool {
	return func(pods []corev1.Pod) bool {
		run := 0
		for _, p := range pods {
			for _, cs := range p.Status.ContainerStatuses {
				if cs.State.Running == nil {
					return false
				}
			}
			if len(p.Status.ContainerStatuses) == len(p.Spec.Containers) && p.DeletionTimestamp == nil {
				run++
			}
		}
		return run == n
	}
}

func none(pods []corev1.Pod) bool { return len(pods) == 0 }
