package session

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/watch"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// TestStateTravels: a face at the other end of the control socket has what a face
// in the process has.
func TestStateTravels(t *testing.T) {
	exit, three := 137, 3
	st := &State{
		Project: "shop", Namespace: "shop", Context: "kind-kdev", Root: "/src/shop", Started: noon, Session: true, Deployed: true,
		Services: []Service{{
			Name: "web", Kind: Built, Phase: FailedPhase, Waiting: &Waiting{Reason: ForNeeds, On: []string{"db"}, Text: "db, which it needs"},
			Image: "localhost:5001/shop/web:1@sha256:abc", Desired: 2, Updated: 1, Current: 1, Old: 1, Restarts: 4,
			Pods: []Pod{{Name: "web-1", Owner: "Deployment/web", Template: "7f", Created: noon, Age: Millis(time.Second), Ready: true,
				Stages:     []PodStage{{Name: "scheduled", Done: true, At: noon, Took: Millis(1500 * time.Microsecond)}},
				Containers: []Container{{Name: "web", State: "terminated", Exit: &exit, MemoryLimit: 1 << 20}}}},
			Sync: []Sync{{Pod: "web-1", Container: "web", Generation: 7, Wanted: 8, Lag: Millis(3 * time.Millisecond), At: noon,
				Problem: &problem.Problem{Code: "sync-x", Summary: "no"}}},
			Build:  &Build{Number: 2, Phase: BuildFailed, Why: "go.mod changed", Started: noon, Took: Millis(time.Second), Lines: []string{"a"}},
			Change: &Change{Number: 1, Action: ActSync, Paths: []string{"a.py"}, Saved: noon, Batched: noon.Add(time.Millisecond), Outcome: Served},
			Scaled: &three, Problem: &problem.Problem{Class: problem.Rollout, Code: "crash", Summary: "exited", Where: "Deployment/web", Output: "a\nb", Hint: "look"},
		}},
		Problems: []*problem.Problem{{Code: "render-failed", Summary: "bad"}},
	}
	b, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	var got State
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*st, got) {
		again, _ := json.Marshal(got)
		t.Errorf("came back as\n%s\nwant\n%s", again, b)
	}
}

func TestChangeLegs(t *testing.T) {
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	c := Change{Action: ActBuild, Saved: at(0), Batched: at(15), Made: at(915), Acknowledged: at(1000)}
	want := []Leg{{"batched", 15 * time.Millisecond}, {"built", 900 * time.Millisecond}, {"acknowledged", 85 * time.Millisecond}}
	if got := c.Legs(); !reflect.DeepEqual(got, want) {
		t.Errorf("legs are %v, want %v", got, want)
	}
	if c.Took() != time.Second {
		t.Errorf("took %s, want 1s", c.Took())
	}
}

// TestTrack: a newer change supersedes, a snapshot does not change afterwards,
// and the history is bounded.
func TestTrack(t *testing.T) {
	svc := &service{}
	batch := func(n uint64) watch.Batch { return watch.Batch{Generation: n, Time: noon} }
	svc.changed(ActBuild, "a", batch(1))
	svc.changed(ActBuild, "b", batch(1))
	svc.changed(ActBuild, "c", batch(2))
	var v Service
	svc.track.show(&v)
	if v.Change.Number != 2 || len(v.History) != 1 || v.History[0].Outcome != Superseded || len(v.History[0].Paths) != 2 {
		t.Fatalf("change %+v, history %+v", v.Change, v.History)
	}
	svc.track.now.Acknowledged = noon
	svc.serve(Progressing, nil, noon)
	if svc.track.now == nil {
		t.Fatal("served before the service was ready")
	}
	svc.serve(Ready, nil, noon.Add(time.Second))
	if v.Change.Outcome != "" {
		t.Error("a snapshot changed")
	}
	for n := range 2 * historyLength {
		svc.changed(ActSync, "a", batch(uint64(n+3)))
	}
	if n := len(svc.track.history); n != historyLength {
		t.Errorf("%d changes are remembered, want %d", n, historyLength)
	}
}

func TestPodStages(t *testing.T) {
	at := func(s int) metav1.Time { return metav1.NewTime(noon.Add(time.Duration(s) * time.Second)) }
	condition := func(kind corev1.PodConditionType, s int) corev1.PodCondition {
		return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: at(s)}
	}
	running := func(name string, s int) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, ImageID: "sha256:1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(s)}}}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", CreationTimestamp: at(0)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}, {Name: "log"}}}}
	done := func() (names []string) {
		for _, s := range podStages(pod, nil, noon.Add(time.Minute)) {
			if s.Done {
				names = append(names, s.Name)
			}
		}
		return names
	}
	if got := done(); got != nil {
		t.Errorf("%v are done of a pod that nobody has looked at", got)
	}
	pod.Spec.NodeName = "node"
	pod.Status.Conditions = append(pod.Status.Conditions, condition(corev1.PodScheduled, 1))
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{running("web", 4), {Name: "log"}}
	if got := done(); !reflect.DeepEqual(got, []string{"scheduled", "pulled"}) {
		t.Errorf("%v are done with one of two containers running", got)
	}
	pod.Status.ContainerStatuses[1] = running("log", 5)
	pod.Status.Conditions = append(pod.Status.Conditions, condition(corev1.PodReady, 8))
	var seconds []float64
	for _, s := range podStages(pod, nil, noon.Add(time.Minute)) {
		seconds = append(seconds, time.Duration(s.Took).Seconds())
	}
	if want := []float64{1, 3, 1, 3}; !reflect.DeepEqual(seconds, want) {
		t.Errorf("stages took %v s, want %v", seconds, want)
	}

	// The API keeps the last time: after a restart it is not that of the start.
	pod.Status.ContainerStatuses[0] = running("web", 30)
	pod.Status.ContainerStatuses[0].RestartCount = 1
	for i, s := range podStages(pod, nil, noon.Add(time.Minute)) {
		if told := time.Duration(s.Took) != deploy.NotTold; told != (i == 0) {
			t.Errorf("of a pod with a restart, %s took %v", s.Name, time.Duration(s.Took))
		}
	}
}

// TestPodTimes: of a pod that the session saw from its beginning, the stages have
// parts of a second, which the API's times do not.
func TestPodTimes(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}
	var seen podTimes
	seen.see(pod, noon.Add(300*time.Millisecond))
	pod = pod.DeepCopy()
	pod.Spec.NodeName = "node"
	seen.see(pod, noon.Add(350*time.Millisecond))
	stages := podStages(pod, &seen, noon.Add(850*time.Millisecond))
	if took := time.Duration(stages[0].Took); !stages[0].Done || took != 50*time.Millisecond {
		t.Errorf("scheduled after %s, want 50ms", took)
	}
	if took := time.Duration(stages[1].Took); stages[1].Done || took != 500*time.Millisecond {
		t.Errorf("being pulled for %s, want 500ms", took)
	}
}
