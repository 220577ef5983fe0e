package pods

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A Condition is a wanted state of a pod: its type and status.
type Condition struct {
	Type   corev1.PodConditionType
	Status corev1.ConditionStatus
}

var (
	conditionTypes = []corev1.PodConditionType{corev1.ContainersReady, corev1.PodInitialized, corev1.PodReady,
		corev1.PodScheduled, corev1.DisruptionTarget, corev1.PodReadyToStartContainers}
	conditionStatuses = []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}
)

// ParseCondition reads "ready" or "ready=false", in any case.
func ParseCondition(s string) (Condition, error) {
	name, value, found := strings.Cut(s, "=")
	if !found {
		value = string(corev1.ConditionTrue)
	}
	var c Condition
	var types, statuses []string
	for _, t := range conditionTypes {
		types = append(types, string(t))
		if strings.EqualFold(string(t), name) {
			c.Type = t
		}
	}
	if c.Type == "" {
		return c, fmt.Errorf("condition should be one of '%s'", strings.Join(types, "', '"))
	}
	for _, v := range conditionStatuses {
		statuses = append(statuses, string(v))
		if strings.EqualFold(string(v), value) {
			c.Status = v
		}
	}
	if c.Status == "" {
		return c, fmt.Errorf("condition value should be one of '%s'", strings.Join(statuses, "', '"))
	}
	return c, nil
}

// Match says whether a pod is in that state.
func (c Condition) Match(pod *corev1.Pod) bool {
	for _, have := range pod.Status.Conditions {
		if have.Type == c.Type {
			return have.Status == c.Status
		}
	}
	return false
}

// A State is a word of --container-state.
type State string

// ParseState reads one.
func ParseState(s string) (State, error) {
	switch s {
	case "running", "waiting", "terminated", "all":
		return State(s), nil
	}
	return "", fmt.Errorf("containerState should be one of 'running', 'waiting', 'terminated', or 'all'")
}

// MatchState says whether a container is in one of the states.
func MatchState(states []State, cs *corev1.ContainerStatus) bool {
	for _, s := range states {
		switch {
		case s == "all",
			s == "running" && cs.State.Running != nil,
			s == "waiting" && cs.State.Waiting != nil,
			s == "terminated" && cs.State.Terminated != nil:
			return true
		}
	}
	return false
}
