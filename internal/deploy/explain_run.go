package deploy

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/kube"
)

// crash explains a run that ended. A first end of a container that will be
// started again is not a problem yet, unless no other start can go better.
func (e *evidence) crash(r containerRun, t *corev1.ContainerStateTerminated) *finding {
	if t.ExitCode == 0 && (r.init || e.pod.Spec.RestartPolicy != corev1.RestartPolicyAlways) {
		return nil // done
	}
	if t.Reason == "StartError" || t.Reason == "ContainerCannotRun" {
		return e.start(r, t.Message)
	}
	restarts := e.pod.Spec.RestartPolicy != corev1.RestartPolicyNever
	if restarts && r.RestartCount < 1 && t.Reason != "OOMKilled" && !hopeless(t) {
		return nil
	}
	if strings.Contains(t.Message, "exec format error") {
		return execFormat([]string{oneLine(t.Message, 200)})
	}
	f := e.killedByProbe(r, t)
	if f == nil {
		f = exitFinding(r, t)
	}
	f.known = append(f.known, "BackOff")
	ran := ""
	if d := t.FinishedAt.Sub(t.StartedAt.Time); !t.StartedAt.IsZero() && d >= 0 {
		ran = " after " + age(d)
	}
	last := fmt.Sprintf("it ended%s with exit code %d%s", ran, t.ExitCode, meaning(t))
	if r.RestartCount > 0 {
		last += ", " + plural(int(r.RestartCount), "restart")
	}
	f.chain = append([]string{last}, f.chain...)
	f.lines = e.printed(r.Name, r.State.Terminated == nil)
	if len(f.lines) == 0 && t.Message != "" {
		f.lines = tailOf(t.Message, 5) // terminationMessagePolicy: FallbackToLogsOnError, or the program wrote it
	}
	if shell := execFormatLine(f.lines); shell != "" {
		return execFormat(append(f.chain, "> "+shell))
	}
	return f
}

// hopeless says whether a command is missing or no program, by the exit codes of shells
// and of the agent: that is so at each start.
func hopeless(t *corev1.ContainerStateTerminated) bool { return t.ExitCode == 126 || t.ExitCode == 127 }

// exitFinding explains an exit code.
func exitFinding(r containerRun, t *corev1.ContainerStateTerminated) *finding {
	limit := r.spec.Resources.Limits.Memory()
	if t.Reason == "OOMKilled" {
		f := &finding{code: "out-of-memory", summary: "it used more memory than it may and was killed", hint: "raise resources.limits.memory, or find what uses the memory"}
		if !limit.IsZero() {
			f.summary = fmt.Sprintf("it used more memory than its limit of %s and was killed", limit)
		}
		return f
	}
	switch t.ExitCode {
	case 0:
		return &finding{code: "exited", summary: "it ends by itself, though it is to run for ever", hint: "run the program in the foreground; what ends by itself belongs in a Job"}
	case 126:
		return &finding{code: "command-not-executable", summary: "it ends with 126: a command in it may not be executed", hint: "`RUN chmod +x` it in the Dockerfile"}
	case 127:
		return &finding{code: "command-not-found", summary: "it ends with 127: a command in it is not in the image", hint: "the last lines name it; install it in the Dockerfile"}
	case 137:
		f := &finding{code: "killed", summary: "it was killed (SIGKILL)", hint: "a process of it may have been out of memory, or did not end within its grace period"}
		if !limit.IsZero() {
			f.hint = fmt.Sprintf("a process of it may have been out of memory: resources.limits.memory is %s", limit)
		}
		return f
	case 139:
		return &finding{code: "crash", summary: "it crashes with a segmentation fault", hint: "native code in it is at fault, or made for another CPU"}
	case 143:
		return &finding{code: "killed", summary: "it was told to end (SIGTERM) and started again", hint: "a liveness probe, the node or somebody did it; the events say more"}
	}
	return &finding{code: "crash", summary: fmt.Sprintf("it crashes with exit code %d", t.ExitCode), hint: "the last lines say why; `kdev logs` shows all of them"}
}

// meaning names the signal in an exit code above 128.
func meaning(t *corev1.ContainerStateTerminated) string {
	if t.Reason == "OOMKilled" {
		return " (out of memory)"
	}
	names := map[int32]string{130: "SIGINT", 131: "SIGQUIT", 134: "SIGABRT", 135: "SIGBUS", 136: "SIGFPE", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
	if name := names[t.ExitCode]; name != "" {
		return " (" + name + ")"
	}
	return ""
}

// execFormatLine finds what a shell says when it is handed a binary of another
// architecture.
func execFormatLine(lines []string) string {
	for _, l := range lines {
		if strings.Contains(strings.ToLower(l), "exec format error") {
			return l
		}
	}
	return ""
}

// killedByProbe explains a run that the kubelet ended because of a probe. An event
// from before the run is about an earlier one, unless a signal ended this one too:
// after some twenty events of a pod the kubelet's recorder keeps further ones back.
func (e *evidence) killedByProbe(r containerRun, t *corev1.ContainerStateTerminated) *finding {
	if t.Reason == "OOMKilled" {
		return nil
	}
	signalled := t.ExitCode == 137 || t.ExitCode == 143
	for _, p := range []struct {
		kind, code string
		probe      *corev1.Probe
	}{{"startup", "startup-probe", r.spec.StartupProbe}, {"liveness", "liveness-probe", r.spec.LivenessProbe}} {
		kind, probe := p.kind, p.probe
		if probe == nil {
			continue
		}
		kill := lastEvent(e.events, "Killing", "Container "+r.Name+" failed "+kind+" probe")
		if kill == nil || kube.EventTime(kill).Time.Before(t.StartedAt.Time) && !signalled {
			continue
		}
		f := &finding{code: p.code, summary: "its " + kind + " probe fails, so it is killed and started again",
			chain: []string{describeProbe(kind, probe)}, known: []string{"Unhealthy", "Killing"}, hint: "correct what answers the probe, or the probe in the manifest"}
		if kind == "startup" {
			f.hint = "give it more time (failureThreshold × periodSeconds), or correct what answers the probe"
		}
		if ev := lastEvent(e.events, "Unhealthy", probeWord(kind)+" probe"); ev != nil {
			f.chain = append(f.chain, "it says: "+probeAnswer(ev.Message))
		}
		return f
	}
	return nil
}

func tailOf(text string, n int) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines
}
