package deploy

import (
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/kube"
)

// serviceAccountGrace is how long a new namespace may take to get its default
// service account.
const serviceAccountGrace = 5 * time.Second

var (
	noAccount = regexp.MustCompile(`serviceaccount "([^"]+)" not found`)
	webhook   = regexp.MustCompile(`(?:failed calling|admission) webhook "([^"]+)"`)
)

// creation explains why a controller cannot create pods. It has no pod, so the
// evidence's is empty.
func (e *evidence) creation(message string, since time.Time) *finding {
	said := []string{oneLine(creationError(message), 300)}
	known := []string{"FailedCreate"}
	switch {
	case strings.Contains(message, "exceeded quota"):
		return &finding{code: "quota-exceeded", summary: "a quota of the namespace allows no more of its pods", chain: said, known: known,
			hint: "raise the quota (`kubectl describe quota`), or lower resources.requests"}
	case strings.Contains(message, "failed quota"):
		return &finding{code: "quota-exceeded", summary: "a quota of the namespace wants resources that its pods do not name", chain: said, known: known,
			hint: "add resources.requests and limits to the containers"}
	case strings.Contains(message, "violates PodSecurity"):
		return &finding{code: "pod-security", summary: "the namespace's Pod Security level does not allow its pods", chain: wrapped(creationError(message), 160), // each field is one to set
			known: known,
			hint:  "set the fields that the message names in securityContext"}
	case webhook.MatchString(message):
		name := webhook.FindStringSubmatch(message)[1]
		if strings.Contains(message, "failed calling webhook") {
			return &finding{code: "webhook-failed", summary: "admission webhook " + name + " does not answer, so no pod of it can be made", chain: said, known: known,
				hint: "start what answers it, or remove its webhook configuration"}
		}
		return &finding{code: "webhook-denied", summary: "admission webhook " + name + " refuses its pods", chain: said, known: known, hint: "the message is the webhook's own"}
	case noAccount.MatchString(message):
		name := noAccount.FindStringSubmatch(message)[1]
		if !e.later(since, serviceAccountGrace) {
			return nil
		}
		return &finding{code: "missing-serviceaccount", summary: "there is no ServiceAccount " + name, known: known, hint: "add it to the manifests, or correct serviceAccountName"}
	}
	return &finding{code: "pod-refused", summary: "the API server refuses its pods", chain: said, known: known, hint: "correct the pod template"}
}

// creationError drops the controller's own words around the API server's.
func creationError(message string) string {
	if _, rest, ok := strings.Cut(message, "Error creating: "); ok {
		return rest
	}
	return message
}

// failedCreate finds in the events of a controller that it cannot create pods, and
// since when. A pod that was created later makes it history.
func failedCreate(events []*corev1.Event) (message string, at time.Time) {
	for i := len(events) - 1; i >= 0; i-- {
		switch events[i].Reason {
		case "FailedCreate":
			first := events[i].FirstTimestamp.Time
			if first.IsZero() {
				first = kube.EventTime(events[i]).Time
			}
			return events[i].Message, first
		case "SuccessfulCreate":
			return "", time.Time{}
		}
	}
	return "", time.Time{}
}
