package deploy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kdev-io/kdev/internal/problem"
)

// apiProblem says in plain words why the API server did not do what was asked
// of it for one object. origin is the file and line that the object comes from;
// where the field that is at fault stands in it, the problem names its line.
func (d *Deployer) apiProblem(err error, ref, origin string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || isAway(err) {
		return d.client.Unreachable(err)
	}
	said := err.Error()
	p := &problem.Problem{Class: problem.Rollout, Code: "object-refused", Where: at(ref, origin), Err: errors.New(status.Status().Message)}
	if strings.HasPrefix(ref, "Secret/") {
		p.Err = errors.New(valueInMessage.ReplaceAllString(p.Err.Error(), "$1"))
	}
	found := faults(err)
	if len(found) > 0 {
		origin = d.blame(p, found, ref, origin)
	}
	describe := "`kubectl describe quota -n " + d.options.Namespace + "` shows what is left"
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(said, "exceeded quota"):
		p.Code, p.Summary, p.Hint = "quota-exceeded", "a quota of the namespace does not allow it", describe
	case apierrors.IsForbidden(err) && strings.Contains(said, "violates PodSecurity"):
		p.Code, p.Summary, p.Hint = "pod-security", "the namespace's Pod Security level does not allow it", "the message names each field; set it in the manifest's securityContext"
	case webhook.MatchString(said) && strings.Contains(said, "denied the request"):
		p.Code, p.Summary, p.Hint = "webhook-denied", "admission webhook "+webhook.FindStringSubmatch(said)[1]+" refuses it", "the message is the webhook's own"
	case webhook.MatchString(said):
		p.Code, p.Summary = "webhook-failed", "admission webhook "+webhook.FindStringSubmatch(said)[1]+" does not answer"
		p.Hint = "start what answers it, or remove its configuration: `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` lists them"
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		p.Code, p.Summary, p.Hint = "namespace-terminating", "its namespace is being deleted", "apply again when it is gone; its conditions say what holds it: `kubectl get namespace -o yaml NAME`"
	case apierrors.IsForbidden(err):
		p.Code, p.Summary, p.Hint = "rbac-denied", "this user may not "+forbidden(said)+" it", "`kubectl auth can-i --list -n "+d.options.Namespace+"` shows what is allowed"
	case isImmutable(&refusal{err, err}):
		p.Code, p.Summary, p.Hint = "object-immutable", "a field of it cannot be changed once it exists", "`kubectl delete "+strings.ToLower(ref)+" -n "+d.options.Namespace+"` and save again, if nothing is lost by that"
	case isNoNamespace(err):
		p.Summary, p.Hint = "its namespace is not there", "add the Namespace to the manifests, or take `namespace:` out"
	case slices.ContainsFunc(found, func(f fault) bool { return f.path == "" && strings.Contains(f.text, "Too long") }) || apierrors.IsRequestEntityTooLargeError(err):
		p.Summary, p.Hint = "it is too large for the cluster", "a ConfigMap or Secret holds 1 MiB in all: split it, or put the files into the image or a volume"
	default:
		p.Summary, p.Hint = "the API server refuses it", "correct the field in "+orElse(origin, "the manifest")+" and save"
	}
	return p
}

// forbidden is what a user may not do, as the API server's authorizer names the verb.
func forbidden(said string) string {
	for _, verb := range []string{"list", "get", "watch"} {
		if strings.Contains(said, "cannot "+verb+" resource") {
			return "read"
		}
	}
	return "write"
}

// valueInMessage is how structured-merge-diff quotes what it cannot read.
var valueInMessage = regexp.MustCompile(`(?s)(failed to create typed patch object \([^)]*\)).*`)

// fewestHidden is how long a value of a Secret has to be to be looked for in a message: a
// shorter one is in half of the words.
const fewestHidden = 4

// refusedProblem is [Deployer.apiProblem] for one object, without the values that it has
// where it is a Secret: the API server, and a webhook, quote what they refuse.
func (d *Deployer) refusedProblem(err error, o *Object) error {
	err = d.apiProblem(err, RefOf(o).String(), o.Origin)
	p, ok := err.(*problem.Problem) //nolint:errorlint // as apiProblem made it
	if !ok || !isSecret(o.Unstructured) {
		return err
	}
	var texts []string
	for _, field := range []string{"data", "stringData"} {
		values, _ := o.Object[field].(map[string]any)
		for _, v := range values {
			text := fmt.Sprint(v)
			plain, _ := base64.StdEncoding.DecodeString(text)
			for _, hidden := range []string{text, string(plain)} {
				if len(hidden) >= fewestHidden {
					texts = append(texts, hidden, strings.Trim(strconv.Quote(hidden), `"`))
				}
			}
		}
	}
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) }) // one may begin with another
	var pairs []string
	for _, text := range texts {
		pairs = append(pairs, text, hiddenValue)
	}
	hide := strings.NewReplacer(pairs...).Replace
	c := *p
	if c.Output = hide(p.Output); p.Err != nil {
		c.Err = errors.New(hide(p.Err.Error()))
	}
	return &c
}

// blame names the fields and, for the first of them, its line. It returns where
// that is.
func (d *Deployer) blame(p *problem.Problem, found []fault, ref, origin string) string {
	var causes []string
	for _, f := range found {
		if strings.HasPrefix(ref, "Secret/") {
			f = f.ofSecret()
		}
		causes = append(causes, f.String())
	}
	p.Err = errors.New(strings.Join(causes, "; "))
	for _, f := range found {
		if file, line := f.line(d.options.Root, origin); line > 0 {
			origin = fmt.Sprintf("%s:%d", file, line)
			break
		}
	}
	p.Where = at(ref, origin)
	return origin
}

// isNoNamespace says whether the namespace of an object is not there.
func isNoNamespace(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// isAway says whether the API server, or what stands before it, could not answer.
func isAway(err error) bool {
	return apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsTimeout(err) && !strings.Contains(err.Error(), "webhook")
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
