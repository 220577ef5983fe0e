package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/testkube"
)

// recordStern names a stern whose output for every row becomes the recorded one. What is
// recorded is stern's commit 8a00e61, behind v1.34.0, which gave templates .Timestamp.
var recordStern = flag.String("record-stern", "", "path of a stern: run it for every row of the conformance table and record what it writes")

// A row is one line of research on stern's command: a flag, a default, an interplay, an
// error. What kdev writes has to be what stern wrote, in testdata/stern.json, or what
// want says, where the difference is deliberate (docs/logs.md).
type row struct {
	name  string
	args  []string
	stdin string
	env   []string
	files map[string]string
	// Want replaces stern's output where kdev differs on purpose; Why is the number in
	// docs/logs.md.
	want *outcome
	why  int
	// Unordered rows read several containers at once.
	unordered bool
	// As is the row whose output this one has too: an alias.
	as string
}

// An outcome is what a run of a command leaves.
type outcome struct {
	code   int
	stdout string
	stderr string // "" is not compared: the wording of help texts is each tool's own
	like   string // a regular expression on stdout, in the place of a text
}

// conformance holds the cluster that the rows read.
func sternWorld(t *testing.T) (*testkube.Server, string) {
	t.Helper()
	s := testkube.Start()
	t.Cleanup(s.Close)
	at := time.Date(2020, 11, 20, 22, 0, 0, 123456789, time.UTC)
	put := func(objs ...runtime.Object) {
		for _, o := range objs {
			if err := s.Put(o); err != nil {
				t.Fatal(err)
			}
		}
	}
	say := func(namespace, pod, container string, lines ...string) {
		l := s.Log(namespace, pod, container)
		for _, line := range lines {
			at = at.Add(1500 * time.Millisecond)
			l.Print(at, line)
		}
		l.End()
	}
	owned := func(p *corev1.Pod, kind, api, name string) *corev1.Pod {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: api, Kind: kind, Name: name, UID: types.UID("uid-" + kind + "-" + name), Controller: new(true)}}
		return p
	}

	web := testkube.Pod("default", "web-5d9c7bd6f8-x2x4j", "web", "proxy")
	web.Labels = map[string]string{"app": "web", "pod-template-hash": "5d9c7bd6f8"}
	web.Annotations = map[string]string{"note": "a<b"}
	web.Spec.InitContainers = []corev1.Container{{Name: "migrate"}}
	web.Status.InitContainerStatuses = []corev1.ContainerStatus{testkube.Terminated(web.Name, "migrate", 0, 0)}
	web.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	web.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{testkube.Running(web.Name, "debug", 0)}
	owned(web, "ReplicaSet", "apps/v1", "web-5d9c7bd6f8")
	say("default", web.Name, "migrate", "migrating", "migrated")
	say("default", web.Name, "web", `{"level":"info","msg":"listening <8080>","ts":1795212000.25,"n":12345678901234567890}`, "GET / 200", "GET /missing 404 ERROR", `quote " and \ and tab	end`)
	say("default", web.Name, "proxy", "proxy up", "ERROR upstream")
	say("default", web.Name, "debug", "# ls")

	db := testkube.Pod("default", "db-0", "db")
	db.Labels = map[string]string{"app": "db", "app.kubernetes.io/instance": "db"}
	db.Spec.NodeName = "node-2"
	db.Status.Conditions[0].Status = corev1.ConditionFalse
	owned(db, "StatefulSet", "apps/v1", "db")
	say("default", "db-0", "db", "db ready", "db ERROR disk", "checkpoint")

	job := testkube.Pod("default", "report-28-abcde", "report")
	job.Labels = map[string]string{"job-name": "report-28"}
	job.Status.Phase = corev1.PodSucceeded
	job.Status.ContainerStatuses[0] = testkube.Terminated(job.Name, "report", 0, 0)
	owned(job, "Job", "batch/v1", "report-28")
	say("default", job.Name, "report", "reported")

	waiting := testkube.Pod("default", "crash-1", "crash")
	waiting.Labels = map[string]string{"app": "crash"}
	waiting.Status.ContainerStatuses[0] = testkube.Waiting("crash-1", "crash", 1, "CrashLoopBackOff")
	say("default", "crash-1", "crash", "panic: no")

	other := testkube.Pod("other", "web-elsewhere", "web")
	other.Labels = map[string]string{"app": "web"}
	say("other", "web-elsewhere", "web", "from other")

	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}}
	put(web, db, job, waiting, other,
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-Deployment-web"}, Spec: appsv1.DeploymentSpec{Template: template}},
		owning(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-5d9c7bd6f8", UID: "uid-ReplicaSet-web-5d9c7bd6f8"}, Spec: appsv1.ReplicaSetSpec{Template: template}}, "Deployment", "apps/v1", "web"),
		&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "report", UID: "uid-CronJob-report"}},
		owning(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "report-28", UID: "uid-Job-report-28"},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"job-name": "report-28"}}}}}, "CronJob", "batch/v1", "report"),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "external"}},
	)
	put(workloads(say)...)
	put(testkube.Pod("kinds", "plain-1", "plain"))
	s.Log("kinds", "plain-1", "plain").Append(testkube.Entry{Time: at, Text: "a proxy says hello", Bare: true})
	s.Log("kinds", "plain-1", "plain").End()
	put(testkube.Pod("kinds", "word-1", "word"))
	s.Log("kinds", "word-1", "word").Append(testkube.Entry{Time: at, Text: "EOF", Bare: true})
	s.Log("kinds", "word-1", "word").End()
	twice := testkube.Pod("kinds", "twice", "app")
	twice.Status.ContainerStatuses[0] = testkube.Running("twice", "app", 1)
	put(twice)
	say("kinds", "twice", "app", "the first run")
	s.Log("kinds", "twice", "app").Restart()
	say("kinds", "twice", "app", "the second run")
	config, err := s.Kubeconfig(t.TempDir(), "fake", "default")
	if err != nil {
		t.Fatal(err)
	}
	return s, config
}

// workloads are those of a namespace of their own, a pod of each.
func workloads(say func(namespace, pod, container string, lines ...string)) []runtime.Object {
	const ns = "kinds"
	named := func(kind, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("uid-" + kind + "-" + name)}
	}
	template := func(app string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}}}
	}
	legacy := template("legacy")
	rollout := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.dev/v1", "kind": "Rollout"}}
	rollout.SetNamespace(ns)
	rollout.SetName("canary")
	rollout.SetUID("uid-Rollout-canary")
	objects := []runtime.Object{
		&appsv1.StatefulSet{ObjectMeta: named("StatefulSet", "store"), Spec: appsv1.StatefulSetSpec{Template: template("store")}},
		&appsv1.DaemonSet{ObjectMeta: named("DaemonSet", "agent"), Spec: appsv1.DaemonSetSpec{Template: template("agent")}},
		&corev1.ReplicationController{ObjectMeta: named("ReplicationController", "legacy"), Spec: corev1.ReplicationControllerSpec{Template: &legacy}},
		rollout,
	}
	for _, w := range []struct{ kind, api, name, pod string }{
		{"StatefulSet", "apps/v1", "store", "store-0"}, {"DaemonSet", "apps/v1", "agent", "agent-x7"},
		{"ReplicationController", "v1", "legacy", "legacy-x7"}, {"Rollout", "example.dev/v1", "canary", "canary-x7"},
	} {
		pod := testkube.Pod(ns, w.pod, "app")
		pod.Labels = map[string]string{"app": w.name}
		say(ns, w.pod, "app", w.name+" says hello")
		objects = append(objects, owning(pod, w.kind, w.api, w.name))
	}
	return objects
}

func owning[T metav1.Object](obj T, kind, api, name string) T {
	obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: api, Kind: kind, Name: name, UID: types.UID("uid-" + kind + "-" + name), Controller: new(true)}})
	return obj
}

func TestLogsDoesWhatSternDoes(t *testing.T) {
	_, kubeconfig := sternWorld(t)
	golden := filepath.Join("testdata", "stern.json")
	recorded := map[string]recording{}
	if b, err := os.ReadFile(golden); err == nil {
		if err := json.Unmarshal(b, &recorded); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range conformance {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range r.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"--kubeconfig", kubeconfig}, r.args...)
			for i, a := range args {
				args[i] = strings.ReplaceAll(a, "$DIR", dir)
			}
			if *recordStern != "" && r.want == nil && r.as == "" {
				o := r.sorted(sternRun(t, *recordStern, dir, r, args))
				recorded[r.name] = recording{o.code, strings.SplitAfter(o.stdout, "\n")}
			}
			want := r.want
			if want == nil {
				have, ok := recorded[cmp.Or(r.as, r.name)]
				if !ok {
					t.Fatal("stern was not recorded for this row")
				}
				want = &outcome{code: have.Code, stdout: strings.Join(have.Out, "")}
			}
			got := r.sorted(kdevRun(t, dir, r, append([]string{"logs"}, args...)))
			if got.code != want.code {
				t.Errorf("exit code %d, want %d\nstderr: %s", got.code, want.code, got.stderr)
			}
			if want.like != "" {
				if !regexp.MustCompile(want.like).MatchString(got.stdout) {
					t.Errorf("stdout:\n%s\nwant it to match %s", got.stdout, want.like)
				}
			} else if got.stdout != want.stdout {
				t.Errorf("stdout:\n%s\nwant:\n%s", got.stdout, want.stdout)
			}
			if want.stderr != "" && !strings.Contains(got.stderr, want.stderr) {
				t.Errorf("stderr:\n%s\nwant in it: %s", got.stderr, want.stderr)
			}
		})
	}
	if *recordStern != "" {
		b, err := json.MarshalIndent(recorded, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A recording is what stern did for one row.
type recording struct {
	Code int      `json:"code"`
	Out  []string `json:"out"` // standard output, cut behind each newline
}

func (r row) sorted(o outcome) outcome {
	if r.unordered {
		lines := strings.SplitAfter(o.stdout, "\n")
		sort.Strings(lines)
		o.stdout = strings.Join(lines, "")
	}
	return o
}

func kdevRun(t *testing.T, dir string, r row, args []string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"HOME": dir}
	for _, kv := range r.env {
		k, v, _ := strings.Cut(strings.ReplaceAll(kv, "$DIR", dir), "=")
		env[k] = v
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := Main(ctx, Env{In: strings.NewReader(r.stdin), Out: &out, Err: &errs, Dir: dir, Getenv: func(k string) string { return env[k] }}, args)
	return outcome{code: code, stdout: out.String(), stderr: errs.String()}
}

func sternRun(t *testing.T, stern, dir string, r row, args []string) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), stern, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}
	for _, kv := range r.env {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(kv, "$DIR", dir))
	}
	cmd.Stdin = strings.NewReader(r.stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	code := 0
	if err := cmd.Run(); err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return outcome{code: code, stdout: out.String(), stderr: errs.String()}
}
