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

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// Missing says, before anything is applied, what the pods of objects read that neither
// the objects nor the cluster have. Of Secrets that is an error, and so is one of
// kdev.yaml that cannot be made: kdev.yaml says where each comes from. ConfigMaps,
// PersistentVolumeClaims and ServiceAccounts may come from elsewhere later: they are
// doubts. Secrets that kdev.yaml calls external are left out, and whatever an object of a
// custom kind, the command of a Job or the cluster itself may make.
//
// Problems, joined: missing-secret, missing-key, secret-source. Doubts: missing-configmap,
// missing-key, missing-claim, missing-serviceaccount.
func (d *Deployer) Missing(ctx context.Context, objects []*Object, sources []config.Source) (doubts []*problem.Problem, err error) {
	err = d.through(ctx, func() error {
		doubts, err = d.lookForReads(ctx, objects, sources)
		return err
	})
	return doubts, err
}

func (d *Deployer) lookForReads(ctx context.Context, objects []*Object, sources []config.Source) (doubts []*problem.Problem, _ error) {
	l := &lookup{d: d, rendered: map[readKey]*Object{}, live: map[readKey]*unstructured.Unstructured{}, makers: makersOf(objects), claims: map[string][]string{}}
	var failed []error
	for _, o := range objects {
		if o.GroupVersionKind().Group == "" {
			l.rendered[readKey{o.GetKind(), d.namespaceOf(o), o.GetName()}] = o
		}
		if o.values != nil {
			if _, err := o.values.get(ctx); err != nil {
				failed = append(failed, err)
			}
		}
		l.claims[d.namespaceOf(o)] = append(l.claims[d.namespaceOf(o)], claimsOf(o)...)
	}
	for _, s := range sources {
		if s.Apps == nil {
			continue
		}
		for _, secret := range s.Apps.Secrets {
			if secret.External {
				l.makers.names = append(l.makers.names, secret.Name)
			}
		}
	}
	for _, o := range objects {
		for _, ref := range podReads(o) {
			p, err := l.missing(ctx, o, ref)
			switch {
			case err != nil:
				return nil, errors.Join(append(failed, err)...)
			case p == nil:
			case ref.kind == "Secret":
				failed = append(failed, p)
			default:
				doubts = append(doubts, p)
			}
		}
	}
	return doubts, errors.Join(failed...)
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

// A readKey names what a pod reads.
type readKey struct{ kind, namespace, name string }

// A lookup finds what pods read.
type lookup struct {
	d        *Deployer
	rendered map[readKey]*Object
	live     map[readKey]*unstructured.Unstructured // nil: there is none
	makers   *makers
	claims   map[string][]string // how the claims of StatefulSets begin, by namespace
}

// missing is the problem of one reference, nil where there is none.
func (l *lookup) missing(ctx context.Context, o *Object, ref podRead) (*problem.Problem, error) {
	key := readKey{ref.kind, l.d.namespaceOf(o), ref.name}
	if l.makers.may(ref.kind, ref.name) || madeByCluster[readKey{kind: ref.kind, name: ref.name}] ||
		ref.kind == "PersistentVolumeClaim" && isClaimOf(ref.name, l.claims[key.namespace]) {
		return nil, nil
	}
	lacking := ref.keys
	rendered := l.rendered[key]
	if rendered != nil && rendered.Object["type"] == string(corev1.SecretTypeServiceAccountToken) {
		return nil, nil // the cluster fills it
	}
	if rendered != nil {
		lacking = slices.DeleteFunc(slices.Clone(ref.keys), func(key string) bool { return holds(rendered.Unstructured, key) })
		if len(lacking) == 0 {
			return nil, nil
		}
	}
	live, err := l.find(ctx, key)
	if apierrors.IsForbidden(err) {
		return nil, nil // the kubelet may see what this person may not
	}
	if err != nil {
		return nil, l.d.apiProblem(err, ref.kind+"/"+ref.name, "")
	}
	p := &problem.Problem{Class: problem.Usage, Where: at(RefOf(o).String(), l.d.placeOf(o, ref.name, ref.near)) + " " + ref.field}
	if live == nil && rendered == nil {
		p.Code, p.Summary = ref.code, "there is no "+ref.kind+" "+ref.name+" in namespace "+key.namespace+", nor does anything make it"
		p.Hint = "add it to the manifests, or correct the name; its pods do not start before it is there"
		if ref.kind == "Secret" {
			p.Hint = fmt.Sprintf("secrets: {%s: {fromEnvFile: .env.%s}} in kdev.yaml makes it, `external: true` there says that somebody else will; or make it now: kubectl create secret generic %s -n %s", ref.name, ref.name, ref.name, key.namespace)
			if env := l.d.options.Environment; env != "" {
				p.Hint = strings.Replace(p.Hint, "}} in kdev.yaml makes it", fmt.Sprintf(", environments: {%[1]s: {fromEnvFile: .env.%[2]s.%[1]s}}}} in kdev.yaml makes it there", env, ref.name), 1)
			}
		}
		return p, nil
	}
	for _, k := range lacking {
		if live != nil && holds(live, k) {
			continue
		}
		p.Code, p.Summary = "missing-key", ref.kind+" "+ref.name+" has no key "+k
		p.Hint = "correct the key"
		if rendered != nil {
			p.Hint += ", or add it where the " + ref.kind + " is made: " + rendered.Origin
		}
		return p, nil
	}
	return nil, nil
}

// find reads what is live. The answer of one call is good for all references.
func (l *lookup) find(ctx context.Context, key readKey) (*unstructured.Unstructured, error) {
	if u, ok := l.live[key]; ok {
		return u, nil
	}
	core := l.d.client.Core.CoreV1()
	var got any
	var err error
	switch key.kind {
	case "Secret":
		got, err = core.Secrets(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	case "ConfigMap":
		got, err = core.ConfigMaps(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	case "PersistentVolumeClaim":
		got, err = core.PersistentVolumeClaims(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	default:
		got, err = core.ServiceAccounts(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		l.live[key] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := toUnstructured(got)
	if err == nil {
		l.live[key] = u
	}
	return u, err
}

// holds says whether a Secret or ConfigMap has a key.
func holds(u *unstructured.Unstructured, key string) bool {
	for _, field := range []string{"data", "stringData", "binaryData"} {
		m, _ := u.Object[field].(map[string]any)
		if _, ok := m[key]; ok {
			return true
		}
	}
	return false
}

// placeOf is the line on which an object names something, below or beside a word that is
// near, else where the object begins.
func (d *Deployer) placeOf(o *Object, name, near string) string {
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
		if len(words) > 1 && slices.Contains(words[1:], name) && strings.Contains(strings.ToLower(line+lines[max(n-2, 0)]), near) {
			return file + ":" + strconv.Itoa(n)
		}
	}
	return o.Origin
}
