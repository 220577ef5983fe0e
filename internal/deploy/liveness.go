package deploy

// Defaults of a probe, as the API server sets them.
const (
	probePeriod    = 10
	probeThreshold = 3
)

// liveness lets a container's liveness probe fail for as long as a start may take.
// The kubelet grants that once in the life of a container, by a startup probe or an
// initial delay; a process that is restarted in place has it no more, and a slow
// one would be killed for starting.
func (in *Injection) liveness(o *Object, c map[string]any, field string) {
	live, _ := c["livenessProbe"].(map[string]any)
	if live == nil {
		return
	}
	grace := setting(live, "initialDelaySeconds", 0)
	if startup, _ := c["startupProbe"].(map[string]any); startup != nil {
		grace += setting(startup, "initialDelaySeconds", 0) + setting(startup, "periodSeconds", probePeriod)*setting(startup, "failureThreshold", probeThreshold)
	}
	if grace == 0 {
		return // the process has to be faster than the probe in production too
	}
	period := setting(live, "periodSeconds", probePeriod)
	live["failureThreshold"] = setting(live, "failureThreshold", probeThreshold) + (grace+period-1)/period
	in.Declared = append(in.Declared, Declared{RefOf(o), field + ".livenessProbe.failureThreshold", "a process that is restarted in place may take as long to start as the first one"})
}

// setting reads a number of a probe; one that is missing or nothing is otherwise.
func setting(probe map[string]any, key string, otherwise int64) int64 {
	if n, ok := number(probe[key]); ok && n >= 1 {
		return int64(n)
	}
	return otherwise
}
