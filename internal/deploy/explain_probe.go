package deploy

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// unready says in words what the pod's readiness waits for, "" when that is not
// known. It is no problem: programs take their time to start.
func (e *evidence) unready() string {
	for _, r := range runs(e.pod) {
		switch {
		case r.State.Running == nil || r.Ready:
			continue
		case r.init:
			return fmt.Sprintf("init container %s, which runs for %s", r.Name, age(e.now.Sub(r.State.Running.StartedAt.Time)))
		case r.spec.StartupProbe != nil && (r.Started == nil || !*r.Started):
			return e.probeWait("startup", r.spec.StartupProbe)
		case r.spec.ReadinessProbe != nil:
			return e.probeWait("readiness", r.spec.ReadinessProbe)
		}
	}
	return ""
}

func (e *evidence) probeWait(kind string, probe *corev1.Probe) string {
	text := "the " + describeProbe(kind, probe)
	if ev := lastEvent(e.events, "Unhealthy", probeWord(kind)+" probe"); ev != nil {
		text += "; it says: " + probeAnswer(ev.Message)
	}
	return text
}

// neverReady explains a rollout whose time is over while a probe still fails.
func (e *evidence) neverReady() *finding {
	for _, r := range runs(e.pod) {
		if r.init || r.Ready || r.State.Running == nil || r.spec.ReadinessProbe == nil {
			continue
		}
		f := &finding{code: "readiness-probe", container: r.word(), summary: "it runs, but its readiness probe has not succeeded in time",
			chain: []string{describeProbe("readiness", r.spec.ReadinessProbe)}, lines: e.printed(r.Name, false), known: []string{"Unhealthy"},
			hint: "correct what answers the probe, or the probe in the manifest"}
		if ev := lastEvent(e.events, "Unhealthy", "Readiness probe"); ev != nil {
			f.chain = append(f.chain, "it says: "+probeAnswer(ev.Message))
		}
		return f
	}
	return nil
}

// describeProbe writes "readiness probe GET :8080/healthz, every 10s".
func describeProbe(kind string, p *corev1.Probe) string {
	what := "something"
	switch {
	case p.HTTPGet != nil:
		what = "GET " + p.HTTPGet.Host + ":" + p.HTTPGet.Port.String() + "/" + strings.TrimPrefix(p.HTTPGet.Path, "/")
	case p.TCPSocket != nil:
		what = "a connection to port " + p.TCPSocket.Port.String()
	case p.GRPC != nil:
		what = fmt.Sprintf("gRPC health at port %d", p.GRPC.Port)
	case p.Exec != nil:
		what = "`" + oneLine(strings.Join(p.Exec.Command, " "), 60) + "`"
	}
	times := ""
	if p.FailureThreshold > 1 {
		times = fmt.Sprintf(", %d failures in a row count", p.FailureThreshold)
	}
	return fmt.Sprintf("%s probe %s, every %ds%s", kind, what, max(p.PeriodSeconds, 1), times)
}

func probeWord(kind string) string { return strings.ToUpper(kind[:1]) + kind[1:] }

// probeAnswer keeps what the probe got: the kubelet's message without its own name.
func probeAnswer(message string) string {
	if _, answer, ok := strings.Cut(message, ":"); ok {
		message = answer
	}
	if message = strings.TrimSpace(message); message == "" {
		return "nothing"
	}
	return mask(oneLine(message, 160))
}
