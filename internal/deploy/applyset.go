package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// Names of KEP-3659, "ApplySet: kubectl apply --prune redesign".
const (
	partOfLabel         = "applyset.kubernetes.io/part-of"
	idLabel             = "applyset.kubernetes.io/id"
	toolingAnnotation   = "applyset.kubernetes.io/tooling"
	groupKindsAnnot     = "applyset.kubernetes.io/contains-group-kinds"
	namespacesAnnot     = "applyset.kubernetes.io/additional-namespaces"
	tooling             = "kdev/v1"
	fieldManager        = "kdev"
	createdAnnotation   = "kdev.dev/created-namespace" // on a Namespace: the project that kdev made it for
	keepAnnotation      = "kdev.dev/keep"
	helmKeepAnnotation  = "helm.sh/resource-policy"
	rootAnnotation      = "kdev.dev/root" // on the parent: host and folder of the project
	projectLabel        = "kdev.dev/project"
	installedAnnotation = "kdev.dev/installed" // on the parent: hooks for the first apply are over
	managedByLabel      = "app.kubernetes.io/managed-by"
	concurrentRequests  = 8
)

// Options name the project that a Deployer deploys.
type Options struct {
	Project   string
	Namespace string
	// Environment is empty for dev. Values of Secrets are of dev alone where kdev.yaml does not
	// say more, so a hint names it.
	Environment string
	Root        string           // absolute; recorded, so that a second checkout is noticed
	Now         func() time.Time // nil is time.Now
	Progress    func(string)     // hears what an Apply or Down waits for; may be nil
	// NoRecreate keeps workloads that run from being deleted and made anew, where a field
	// cannot be changed otherwise.
	NoRecreate bool
	// HookTimeout is how long each hook of a chart may take; zero: as long as helm gives it.
	HookTimeout time.Duration
}

// A Deployer applies, prunes and removes the objects of one project in one
// namespace. It is for one goroutine at a time, but Status, Objects, Diff, Releases,
// Deployed and Restart may run beside.
type Deployer struct {
	client  *kube.Client
	options Options
	id      string
	applied appliedSet
	storage storageClasses
	jobs    ledger
	data    changedData
	tails   tails
	hide    func(string) string // may be nil
	telling sync.Mutex

	releases  releases
	installed bool // everything was ready once; only where there are hooks
}

// New makes a Deployer; nothing is sent before Apply or Down. Who made it closes it.
func New(client *kube.Client, options Options) *Deployer {
	d := &Deployer{client: client, options: options}
	d.tails.ctx, d.tails.end = context.WithCancel(context.Background())
	d.tails.fetch = func(ctx context.Context, pod *corev1.Pod, container string, previous bool) []string {
		return fetchTail(ctx, client, pod, container, previous)
	}
	d.id = applySetID(d.parentName(), options.Namespace)
	return d
}

// beside is a Deployer of the same set that shares nothing with what d does meanwhile: it
// knows of the set what its parent says.
func (d *Deployer) beside() *Deployer {
	return &Deployer{client: d.client, options: d.options, id: d.id}
}

// Hide takes known values out of what Status shows of the words of containers and of the
// cluster. It is called before Status is.
func (d *Deployer) Hide(f func(string) string) { d.hide = f }

// Tell hears what an Apply or Down waits for, as [Options.Progress] does. It is called before
// these are.
func (d *Deployer) Tell(progress func(string)) { d.options.Progress = progress }

// Close ends what Status asked for beside itself and waits for it. Nothing of the
// Deployer may be used after it.
func (d *Deployer) Close() { d.tails.close() }

// parentName is the ConfigMap that stands for the set.
func (d *Deployer) parentName() string { return "kdev-" + d.options.Project }

// applySetID is the KEP's: base64url of the SHA-256 of "<name>.<namespace>.<kind>.<group>".
func applySetID(name, namespace string) string {
	sum := sha256.Sum256([]byte(name + "." + namespace + ".ConfigMap."))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// members says which kinds and namespaces the set may have members in.
type members struct {
	kinds      map[schema.GroupKind]bool
	namespaces map[string]bool // other than the parent's
}

// add makes room for one object.
func (m members) add(key objectKey, parents string) {
	m.kinds[key.GroupKind] = true
	if key.namespace != "" && key.namespace != parents {
		m.namespaces[key.namespace] = true
	}
}

func (m members) union(o members) members {
	all := members{maps.Clone(m.kinds), maps.Clone(m.namespaces)}
	maps.Copy(all.kinds, o.kinds)
	maps.Copy(all.namespaces, o.namespaces)
	return all
}

func (m members) without(o members) members {
	rest := members{maps.Clone(m.kinds), maps.Clone(m.namespaces)}
	maps.DeleteFunc(rest.kinds, func(gk schema.GroupKind, _ bool) bool { return o.kinds[gk] })
	maps.DeleteFunc(rest.namespaces, func(ns string, _ bool) bool { return o.namespaces[ns] })
	return rest
}

func (m members) equal(o members) bool {
	return maps.Equal(m.kinds, o.kinds) && maps.Equal(m.namespaces, o.namespaces)
}

// annotations writes members as the KEP says: sorted, "Kind.group".
func (m members) annotations() map[string]string {
	var kinds []string
	for gk := range m.kinds {
		kinds = append(kinds, gk.String())
	}
	slices.Sort(kinds)
	return map[string]string{
		toolingAnnotation: tooling,
		groupKindsAnnot:   strings.Join(kinds, ","),
		namespacesAnnot:   strings.Join(slices.Sorted(maps.Keys(m.namespaces)), ","),
	}
}

func parseMembers(annotations map[string]string) members {
	m := members{map[schema.GroupKind]bool{}, map[string]bool{}}
	for _, kind := range strings.FieldsFunc(annotations[groupKindsAnnot], isComma) {
		m.kinds[schema.ParseGroupKind(kind)] = true
	}
	for _, ns := range strings.FieldsFunc(annotations[namespacesAnnot], isComma) {
		m.namespaces[ns] = true
	}
	return m
}

func isComma(r rune) bool { return r == ',' }

// parent reads the set's parent; nil when there is none.
func (d *Deployer) parent(ctx context.Context) (*corev1.ConfigMap, error) {
	cm, err := d.client.Core.CoreV1().ConfigMaps(d.options.Namespace).Get(ctx, d.parentName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		d.jobs.read(nil)
		d.data.read(nil)
		d.releases.read(nil)
		d.installed = false
		return nil, nil
	}
	if err != nil {
		return nil, d.apiProblem(err, "ConfigMap/"+d.parentName(), "")
	}
	if by := cm.Annotations[toolingAnnotation]; by != tooling {
		return nil, &problem.Problem{
			Code: "applyset-foreign", Where: "ConfigMap/" + cm.Name + " in namespace " + cm.Namespace,
			Summary: fmt.Sprintf("it belongs to %q, not to kdev", by),
			Hint:    "give the project another `name:` in kdev.yaml, or delete that ConfigMap",
		}
	}
	d.jobs.read(orEmpty(cm.Data))
	d.data.read(orEmpty(cm.Data))
	d.releases.read(cm.Data)
	d.installed = cm.Annotations[installedAnnotation] != ""
	return cm, nil
}

// remember writes the parent with at least the given members, before any of
// them exists: a set that is interrupted must still find all that it made.
// It returns all members that the parent then names, and those of them that are new.
func (d *Deployer) remember(ctx context.Context, want members) (all, fresh members, _ error) {
	cm, err := d.parent(ctx)
	if err != nil {
		return want, want, err
	}
	fresh = want
	if cm != nil {
		have := parseMembers(cm.Annotations)
		fresh, want = want.without(have), want.union(have)
		if want.equal(have) && cm.Annotations[rootAnnotation] == d.root() {
			return want, fresh, nil
		}
	}
	return want, fresh, d.writeParent(ctx, want)
}

func (d *Deployer) root() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + ":" + d.options.Root
}

func (d *Deployer) writeParent(ctx context.Context, m members) error {
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: d.parentName(), Namespace: d.options.Namespace,
			Labels:      map[string]string{idLabel: d.id, managedByLabel: "kdev", projectLabel: d.options.Project},
			Annotations: m.annotations(),
		},
		Data: d.releases.into(d.data.into(d.jobs.data())),
	}
	cm.Annotations[rootAnnotation] = d.root()
	if d.installed {
		cm.Annotations[installedAnnotation] = "true"
	}
	u, err := toUnstructured(cm)
	if err != nil {
		return err
	}
	_, err = d.client.Dynamic.Resource(configMaps).Namespace(d.options.Namespace).
		Apply(ctx, cm.Name, u, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		d.jobs.unsaved()
		d.data.unsaved()
		return d.apiProblem(err, "ConfigMap/"+cm.Name, "")
	}
	return nil
}

func orEmpty(data map[string]string) map[string]string {
	if data == nil {
		return map[string]string{}
	}
	return data
}
