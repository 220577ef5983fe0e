package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/problem"
)

// apiProblem says in plain words why the API server did not do what was asked
// of it for one object. origin is the file that the object comes from.
func (d *Deployer) apiProblem(err error, ref, origin string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p := &problem.Problem{Class: problem.Rollout, Code: "object-refused", Where: at(ref, origin), Err: err}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return d.client.Unreachable(err)
	}
	p.Err = errors.New(plainCause(status.Status(), err))
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		p.Code, p.Summary, p.Hint = "quota-exceeded", "a quota of the namespace does not allow it", "`kubectl describe quota -n "+d.options.Namespace+"` shows what is left"
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "PodSecurity"):
		p.Code, p.Summary, p.Hint = "pod-security", "the namespace's Pod Security level does not allow it", "the message names each field; set it in the manifest's securityContext"
	case apierrors.IsForbidden(err):
		p.Code, p.Summary, p.Hint = "rbac-denied", "this user may not write it", "`kubectl auth can-i --list -n "+d.options.Namespace+"` shows what is allowed"
	case apierrors.IsInvalid(err) && strings.Contains(err.Error(), "immutable"):
		p.Code, p.Summary, p.Hint = "object-immutable", "a field of it cannot be changed once it exists", "`kubectl delete "+strings.ToLower(ref)+" -n "+d.options.Namespace+"` and save again, if nothing is lost by that"
	case apierrors.IsInternalError(err) && strings.Contains(err.Error(), "webhook"):
		p.Code, p.Summary, p.Hint = "webhook-failed", "an admission webhook of the cluster does not answer", "`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` lists them"
	default:
		p.Summary, p.Hint = "the API server refuses it", "correct the field in "+orElse(origin, "the manifest")+" and save"
	}
	return p
}

// plainCause lists the fields that a refusal is about.
func plainCause(s metav1.Status, err error) string {
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return s.Message
	}
	var causes []string
	for _, c := range s.Details.Causes {
		if c.Field == "" {
			return s.Message
		}
		causes = append(causes, fmt.Sprintf("%s: %s", c.Field, c.Message))
	}
	return strings.Join(causes, "; ")
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Live reads which reference each service's workloads run now, for the image
// of record. A service that nothing runs, or that several workloads run in
// different versions, is not in the result.
func (d *Deployer) Live(ctx context.Context, objects []*Object, images []Image) (map[string]string, error) {
	byRef := map[Ref]*Object{}
	for _, o := range objects {
		byRef[RefOf(o)] = o
	}
	found := map[string]string{}
	mixed := map[string]bool{}
	for service, uses := range Inject(Copy(objects), withoutRefs(images)).Uses {
		for _, use := range uses {
			o := byRef[use.Object]
			if use.Container == "" || o == nil {
				continue
			}
			ref, err := d.liveImage(ctx, o, use.Container)
			if err != nil {
				return nil, err
			}
			if old, ok := found[service]; ok && old != ref {
				mixed[service] = true
			}
			found[service] = ref
		}
	}
	for service, ref := range found {
		if mixed[service] || ref == "" {
			delete(found, service)
		}
	}
	return found, nil
}

func withoutRefs(images []Image) []Image {
	out := make([]Image, len(images))
	for i, im := range images {
		im.Ref = ""
		out[i] = im
	}
	return out
}

// liveImage reads the image of one container of a live workload.
func (d *Deployer) liveImage(ctx context.Context, o *Object, container string) (string, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.client.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return "", nil
	}
	if err != nil {
		return "", d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	ns := orElse(o.GetNamespace(), d.options.Namespace)
	live, err := d.client.Dynamic.Resource(mapping.Resource).Namespace(ns).Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	ref := ""
	eachContainer(&Object{&unstructured.Unstructured{Object: live.Object}, ""}, func(c map[string]any, _ string) {
		if c["name"] == container {
			ref, _ = c["image"].(string)
		}
	})
	return ref, nil
}
