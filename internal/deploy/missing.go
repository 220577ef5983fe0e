package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// A secretRef is one place where a pod reads a Secret.
type secretRef struct {
	name  string
	keys  []string // that have to be there
	field string
}

// Missing says, before anything is applied, what the pods of objects read of Secrets
// that neither the objects nor the cluster have, and which Secrets of kdev.yaml cannot
// be made. Secrets that kdev.yaml calls external are left out, and those that an object
// of a custom kind names: its controller may make them.
//
// Problems, joined: missing-secret, missing-key, secret-source.
func (d *Deployer) Missing(ctx context.Context, objects []*Object, sources []config.Source) error {
	return d.through(ctx, func() error { return d.lookForSecrets(ctx, objects, sources) })
}

func (d *Deployer) lookForSecrets(ctx context.Context, objects []*Object, sources []config.Source) error {
	l := &lookup{d: d, rendered: map[string]*Object{}, live: map[string]*corev1.Secret{}}
	var failed []error
	for _, o := range objects {
		if isSecret(o.Unstructured) {
			l.rendered[d.namespaceOf(o)+"/"+o.GetName()] = o
		}
		if o.values != nil {
			if _, err := o.values.get(ctx); err != nil {
				failed = append(failed, err)
			}
		}
		if !scheme.Scheme.IsGroupRegistered(o.GroupVersionKind().Group) {
			l.made = append(l.made, stringsOf(o)...)
		}
	}
	for _, s := range sources {
		if s.Apps == nil {
			continue
		}
		for _, secret := range s.Apps.Secrets {
			if secret.External {
				l.made = append(l.made, secret.Name)
			}
		}
	}
	for _, o := range objects {
		for _, ref := range secretRefs(o) {
			p, err := l.missing(ctx, o, ref)
			if err != nil {
				return errors.Join(append(failed, err)...)
			}
			if p != nil {
				failed = append(failed, p)
			}
		}
	}
	return errors.Join(failed...)
}

func (d *Deployer) namespaceOf(o *Object) string {
	if ns := o.GetNamespace(); ns != "" {
		return ns
	}
	return d.options.Namespace
}

// stringsOf are the name of an object and all its strings.
func stringsOf(o *Object) []string {
	all := []string{o.GetName()}
	walkStrings(o.Object, "", func(value, _ string) (string, bool) {
		all = append(all, value)
		return "", false
	})
	return all
}

// A lookup finds Secrets.
type lookup struct {
	d        *Deployer
	rendered map[string]*Object        // namespace/name
	live     map[string]*corev1.Secret // namespace/name; nil: there is none
	made     []string                  // names of what somebody else may make
}

// missing is the problem of one reference, nil where there is none.
func (l *lookup) missing(ctx context.Context, o *Object, ref secretRef) (*problem.Problem, error) {
	if slices.Contains(l.made, ref.name) {
		return nil, nil
	}
	ns := l.d.namespaceOf(o)
	lacking := ref.keys
	rendered := l.rendered[ns+"/"+ref.name]
	if rendered != nil && rendered.Object["type"] == string(corev1.SecretTypeServiceAccountToken) {
		return nil, nil // the cluster fills it
	}
	if rendered != nil {
		lacking = slices.DeleteFunc(slices.Clone(ref.keys), func(key string) bool { return holds(rendered, key) })
		if len(lacking) == 0 {
			return nil, nil
		}
	}
	live, err := l.secret(ctx, ns, ref.name)
	if apierrors.IsForbidden(err) {
		return nil, nil // the kubelet may see what this person may not
	}
	if err != nil {
		return nil, l.d.apiProblem(err, "Secret/"+ref.name, "")
	}
	p := &problem.Problem{Class: problem.Usage, Where: at(RefOf(o).String(), l.d.placeOf(o, ref.name)) + " " + ref.field}
	if live == nil && rendered == nil {
		p.Code, p.Summary = "missing-secret", "there is no Secret "+ref.name+" in namespace "+ns+", nor does anything make it"
		p.Hint = fmt.Sprintf("secrets: {%s: {fromEnvFile: .env.%s}} in kdev.yaml makes it, `external: true` there says that somebody else will; or make it now: kubectl create secret generic %s -n %s", ref.name, ref.name, ref.name, ns)
		return p, nil
	}
	for _, key := range lacking {
		if live != nil && live.Data[key] != nil {
			continue
		}
		p.Code, p.Summary = "missing-key", "Secret "+ref.name+" has no key "+key
		p.Hint = "correct the key"
		if rendered != nil {
			p.Hint += ", or add it where the Secret is made: " + rendered.Origin
		}
		return p, nil
	}
	return nil, nil
}

func (l *lookup) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	if s, ok := l.live[namespace+"/"+name]; ok {
		return s, nil
	}
	s, err := l.d.client.Core.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s, err = nil, nil
	}
	if err == nil {
		l.live[namespace+"/"+name] = s
	}
	return s, err
}

// holds says whether a rendered Secret has a key.
func holds(secret *Object, key string) bool {
	for _, field := range []string{"data", "stringData"} {
		if m, _ := secret.Object[field].(map[string]any); m[key] != nil {
			return true
		}
	}
	return false
}

// placeOf is the line on which an object names something, else where the object begins.
func (d *Deployer) placeOf(o *Object, name string) string {
	i := strings.LastIndexByte(o.Origin, ':')
	if i < 0 {
		return o.Origin
	}
	file := o.Origin[:i]
	first, err := strconv.Atoi(o.Origin[i+1:])
	text, readErr := os.ReadFile(filepath.Join(d.options.Root, filepath.FromSlash(file)))
	if err != nil || readErr != nil {
		return o.Origin
	}
	lines := strings.Split(string(text), "\n")
	for n := first; n <= len(lines); n++ {
		line := lines[n-1]
		if n > first && strings.HasPrefix(line, "---") {
			break
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t,:[]{}\"'", r) })
		if len(words) > 1 && slices.Contains(words[1:], name) && strings.Contains(strings.ToLower(line+lines[max(n-2, 0)]), "secret") {
			return file + ":" + strconv.Itoa(n)
		}
	}
	return o.Origin
}

// secretRefs are the places where the pods of a workload need a Secret.
func secretRefs(o *Object) []secretRef {
	path := podSpecPath(o)
	if path == nil {
		return nil
	}
	fields, _, _ := unstructured.NestedMap(o.Object, path...)
	var spec corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec) != nil {
		return nil // the API server says best what is wrong with it
	}
	top := strings.Join(path, ".")
	var refs []secretRef
	add := func(optional *bool, name, field string, keys ...string) {
		if name != "" && (optional == nil || !*optional) {
			refs = append(refs, secretRef{name, keys, top + "." + field})
		}
	}
	for _, list := range []struct {
		field      string
		containers []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i, c := range list.containers {
			for j, from := range c.EnvFrom {
				if s := from.SecretRef; s != nil {
					add(s.Optional, s.Name, fmt.Sprintf("%s[%d].envFrom[%d].secretRef", list.field, i, j))
				}
			}
			for j, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					s := e.ValueFrom.SecretKeyRef
					add(s.Optional, s.Name, fmt.Sprintf("%s[%d].env[%d].valueFrom.secretKeyRef", list.field, i, j), s.Key)
				}
			}
		}
	}
	keysOf := func(items []corev1.KeyToPath) (keys []string) {
		for _, item := range items {
			keys = append(keys, item.Key)
		}
		return keys
	}
	for i, v := range spec.Volumes {
		if s := v.Secret; s != nil {
			add(s.Optional, s.SecretName, fmt.Sprintf("volumes[%d].secret", i), keysOf(s.Items)...)
		}
		if v.Projected == nil {
			continue
		}
		for j, source := range v.Projected.Sources {
			if s := source.Secret; s != nil {
				add(s.Optional, s.Name, fmt.Sprintf("volumes[%d].projected.sources[%d].secret", i, j), keysOf(s.Items)...)
			}
		}
	}
	return refs
}
