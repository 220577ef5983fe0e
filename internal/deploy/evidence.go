package deploy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// evidence is what is known of one pod of a workload at one time.
type evidence struct {
	workload Ref
	pod      *corev1.Pod
	events   []*corev1.Event // about the pod, oldest first
	claims   map[string][]*corev1.Event
	now      time.Time
	tail     func(pod *corev1.Pod, container string, previous bool) []string // may be nil
	hide     func(string) string                                             // may be nil

	again time.Time // when to look again although nothing changes; zero: never
}

// later asks for another look when a rule's patience is over. It reports whether
// it is over already.
func (e *evidence) later(since time.Time, patience time.Duration) bool {
	at := since.Add(patience)
	if !e.now.Before(at) {
		return true
	}
	if e.again.IsZero() || at.Before(e.again) {
		e.again = at
	}
	return false
}

// where names the workload and not the pod: replacing a pod makes no new problem.
func (e *evidence) where(container string) string {
	return strings.TrimSpace(e.workload.String() + " " + container)
}

// A finding is a problem in the making: how, for people, in a few lines.
type finding struct {
	code, summary, hint string
	container           string   // "container web", "init container migrate"; "" for the pod as a whole
	chain               []string // what led to it, a line each
	lines               []string // what the container printed last
	known               []string // event reasons that say the same again
}

// outputLines bounds a problem's output, so that with headline and hint it stays
// within twelve lines.
const outputLines = 9

// problem puts a finding into the form that all faces show.
func (e *evidence) problem(f *finding) *problem.Problem {
	if f == nil {
		return nil
	}
	out := []string{"pod " + e.pod.Name}
	if len(f.chain) > 0 {
		out[0] += ": " + f.chain[0]
		out = append(out, f.chain[1:]...)
	}
	for _, line := range f.lines {
		out = append(out, "> "+mask(line))
	}
	out = append(out, warnings(e.events, f.known, min(3, outputLines-len(out)), e.now)...)
	if len(out) > outputLines {
		out = out[:outputLines]
	}
	output := strings.Join(out, "\n")
	if e.hide != nil {
		output = e.hide(output)
	}
	return &problem.Problem{Class: problem.Rollout, Code: f.code, Where: e.where(f.container), Summary: f.summary,
		Output: output, Hint: f.hint}
}

// printed fetches the last lines of a run.
func (e *evidence) printed(container string, previous bool) []string {
	if e.tail == nil {
		return nil
	}
	return e.tail(e.pod, container, previous)
}

var digits = regexp.MustCompile(`[0-9]+`)

// warnings lists Warning events, newest first, each kind once, without those
// whose reason the finding tells already.
func warnings(events []*corev1.Event, known []string, limit int, now time.Time) []string {
	var out []string
	seen := map[string]bool{}
	for _, ev := range slices.Backward(events) {
		key := ev.Reason + digits.ReplaceAllString(ev.Message, "0")
		if ev.Type != corev1.EventTypeWarning || seen[key] || slices.Contains(known, ev.Reason) || len(out) >= limit {
			continue
		}
		seen[key] = true
		times := ""
		if n := occurrences(ev); n > 1 {
			times = fmt.Sprintf(" (%d times)", n)
		}
		out = append(out, fmt.Sprintf("%s%s %s ago: %s", ev.Reason, times, age(now.Sub(kube.EventTime(ev).Time)), mask(oneLine(ev.Message, 160))))
	}
	return out
}

func occurrences(ev *corev1.Event) int {
	if ev.Series != nil {
		return int(ev.Series.Count)
	}
	return int(max(ev.Count, 1))
}

// lastEvent returns the newest event of a reason whose message has the text.
func lastEvent(events []*corev1.Event, reason, text string) *corev1.Event {
	for _, ev := range slices.Backward(events) {
		if ev.Reason == reason && strings.Contains(ev.Message, text) {
			return ev
		}
	}
	return nil
}

// age rounds a duration to what a person wants to read.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 10*time.Minute:
		return d.Round(time.Second).String()
	default:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}

func oneLine(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

// wrapped is all of a message, in lines of some width.
func wrapped(s string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return append(lines, line)
}

// containerRun is a container with its spec and status, in the order of starting.
type containerRun struct {
	corev1.ContainerStatus
	spec *corev1.Container
	init bool // and it has to end before the others start
}

func runs(pod *corev1.Pod) []containerRun {
	var all []containerRun
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		sidecar := spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		all = append(all, containerRun{statusOf(pod.Status.InitContainerStatuses, spec.Name), spec, !sidecar})
	}
	for i := range pod.Spec.Containers {
		spec := &pod.Spec.Containers[i]
		all = append(all, containerRun{statusOf(pod.Status.ContainerStatuses, spec.Name), spec, false})
	}
	return all
}

func statusOf(list []corev1.ContainerStatus, name string) corev1.ContainerStatus {
	i := slices.IndexFunc(list, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		return corev1.ContainerStatus{Name: name}
	}
	return list[i]
}

func (r containerRun) word() string {
	if r.init {
		return "init container " + r.Name
	}
	return "container " + r.Name
}

// ended is the run that ended last: of now or before.
func (r containerRun) ended() *corev1.ContainerStateTerminated {
	return cmp.Or(r.State.Terminated, r.LastTerminationState.Terminated)
}

// plural writes "1 restart", "3 restarts".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
