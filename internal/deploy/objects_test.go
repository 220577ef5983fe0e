package deploy

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kdev-io/kdev/internal/kube"
)

// staticMapper is a RESTMapper that needs no discovery.
type staticMapper struct{ *meta.DefaultRESTMapper }

func (staticMapper) Reset() {}

// shopKinds are the kinds that the fakes serve beside the built-in ones.
var shopKinds = map[schema.GroupVersionResource]struct {
	kind       string
	namespaced bool
}{
	{Group: "example.com", Version: "v1", Resource: "databases"}:                          {"Database", true},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}:           {"HTTPRoute", true},
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}: {"CustomResourceDefinition", false},
	{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}:             {"APIService", false},
	{Group: "", Version: "v1", Resource: "persistentvolumeclaims"}:                        {"PersistentVolumeClaim", true},
	{Group: "", Version: "v1", Resource: "services"}:                                      {"Service", true},
	{Group: "apps", Version: "v1", Resource: "deployments"}:                               {"Deployment", true},
	{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}:                    {"Ingress", true},
}

// objectsOf is what a Deployer says of manifests while a namespace holds live objects, a
// line each: "Service/web: ready", what it waits for, a note, a problem.
func objectsOf(t *testing.T, manifests, live string, now time.Time, typed ...runtime.Object) string {
	t.Helper()
	rendered, root := parseIn(t, manifests)
	lists := map[schema.GroupVersionResource]string{}
	mapper := staticMapper{meta.NewDefaultRESTMapper(nil)}
	for gvr, k := range shopKinds {
		scope := meta.RESTScopeRoot
		if k.namespaced {
			scope = meta.RESTScopeNamespace
		}
		mapper.AddSpecific(gvr.GroupVersion().WithKind(k.kind), gvr, gvr, scope)
		lists[gvr] = k.kind + "List"
	}
	client := &kube.Client{Mapper: mapper}
	d := New(client, Options{Project: "shop", Namespace: "shop", Root: root, Now: func() time.Time { return now }})
	defer d.Close()
	var custom []runtime.Object
	if live != "" {
		for _, o := range parse(t, live) {
			o.SetNamespace("shop")
			if obj, err := scheme.Scheme.New(o.GroupVersionKind()); err == nil && !isFollowed(o.GroupVersionKind().GroupKind()) {
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, obj); err != nil {
					t.Fatal(err)
				}
				typed = append(typed, obj)
				continue
			}
			if o.GetKind() != "Database" && o.GetKind() != "HTTPRoute" {
				o.SetNamespace("")
			}
			o.SetLabels(map[string]string{partOfLabel: d.id})
			text, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{} // with the types of numbers that the API has
			if err := u.UnmarshalJSON(text); err != nil {
				t.Fatal(err)
			}
			custom = append(custom, u)
		}
	}
	d.Hide(func(text string) string { return strings.ReplaceAll(text, "key-of-db", "HIDDEN") })
	client.Core = fake.NewSimpleClientset(typed...)
	client.Dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, custom...)
	ctx, cancel := context.WithCancel(t.Context())
	watched, err := kube.Watch(ctx, client, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Wait()
	defer cancel()
	if err := d.Follow(ctx, watched, rendered); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range d.Objects(watched, rendered) {
		line := s.Ref.String() + ": ready"
		if !s.Ready {
			line = s.Ref.String() + ": waits for " + s.Waiting
		}
		if s.Note != "" {
			line += " (" + s.Note + ")"
		}
		if s.Problem != nil {
			line += " [" + s.Problem.Code + "] " + s.Problem.Error()
			if s.Problem.Output != "" {
				line += " | " + s.Problem.Output
			}
			if s.Problem.Hint == "" {
				t.Errorf("%s: no hint", s.Ref)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const aClaim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, uid: c}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}CLASS}\nSTATUS"

func claimText(class, status string) string {
	if class != "" {
		class = ", storageClassName: " + class
	}
	return strings.NewReplacer("CLASS", class, "STATUS", status).Replace(aClaim)
}

// A claim is ready when it is bound, and while nobody wants its volume yet; else it says
// what keeps the volume away.
func TestClaims(t *testing.T) {
	start := time.Unix(1000, 0)
	mode := func(m storagev1.VolumeBindingMode) *storagev1.VolumeBindingMode { return &m }
	standard := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{defaultClass: "true"}}, VolumeBindingMode: mode(storagev1.VolumeBindingWaitForFirstConsumer)}
	fast := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, VolumeBindingMode: mode(storagev1.VolumeBindingImmediate)}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "shop"}, InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Name: "data", UID: "c"},
		Type: "Warning", Reason: "ProvisioningFailed", Message: "no space left in pool", LastTimestamp: metav1.NewTime(start)}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}}}
	pending := "status: {phase: Pending}\n"
	byHand := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{StorageClassName: "manual"}}
	recent := event.DeepCopy()
	recent.FirstTimestamp = metav1.NewTime(start.Add(55 * time.Second))
	recent.LastTimestamp = recent.FirstTimestamp
	for _, tc := range []struct {
		name, class, live string
		with              []runtime.Object
		want              string
	}{
		{"bound", "", claimText("", "status: {phase: Bound}\n"), []runtime.Object{standard}, "ready"},
		{"not there", "", "", []runtime.Object{standard}, "waits for its creation"},
		{"no pod yet", "", claimText("", pending), []runtime.Object{standard}, "ready (its volume is made when the first pod uses it)"},
		{"a pod wants it", "", claimText("", pending), []runtime.Object{standard, pod}, "waits for its volume of class standard"},
		{"made at once", "fast", claimText("fast", pending), []runtime.Object{fast}, "waits for its volume of class fast"},
		{"cannot be made", "fast", claimText("fast", pending), []runtime.Object{fast, event}, "waits for its volume of class fast [volume-unbound] PersistentVolumeClaim/data (all.yaml:1): its volume cannot be made | no space left in pool"},
		{"no such class", "nosuch", claimText("nosuch", pending), []runtime.Object{standard}, "waits for its volume [volume-unbound] PersistentVolumeClaim/data (all.yaml:4): the cluster has no StorageClass nosuch"},
		{"no default class", "", claimText("", pending), []runtime.Object{fast}, "waits for its volume [volume-unbound] PersistentVolumeClaim/data (all.yaml:1): it names no StorageClass, and the cluster has no default one"},
		{"of a volume made by hand", "manual", claimText("manual", pending), []runtime.Object{standard, byHand}, "waits for its volume"},
		{"tried again", "fast", claimText("fast", pending), []runtime.Object{fast, recent}, "waits for its volume of class fast"},
		{"lost", "", claimText("", "status: {phase: Lost}\n"), []runtime.Object{standard}, "waits for  [volume-lost] PersistentVolumeClaim/data (all.yaml:1): its volume  is gone, and its data with it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := objectsOf(t, claimText(tc.class, ""), tc.live, start.Add(time.Minute), tc.with...); got != "PersistentVolumeClaim/data: "+tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

const anApp = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web, tier: front}}, spec: {containers: [{name: a, image: a, ports: [{name: http, containerPort: 80}]}]}}}
---
`

// A Service behind which no pod can be, and a rule that sends to nothing, look wrong; what
// others may make does not.
func TestServicesAndRules(t *testing.T) {
	service := func(spec string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {" + spec + "}\n"
	}
	ports := "ports: [{name: http, port: 80, targetPort: http}]"
	balanced := service("type: LoadBalancer, selector: {app: web}, " + ports)
	ingress := "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  rules:\n  - host: shop.test\n    http: {paths: [{path: /api, pathType: Prefix, backend: {service: {name: NAME, port: PORT}}}]}\n"
	to := func(name, port string) string {
		return strings.NewReplacer("NAME", name, "PORT", port).Replace(ingress)
	}
	route := "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec: {hostnames: [shop.test], rules: [{backendRefs: [{name: NAME, port: 80}]}]}\n"
	for _, tc := range []struct{ name, manifests, live, want string }{
		{"selects", anApp + service("selector: {app: web}, "+ports), service("selector: {app: web}, " + ports), "Service/web: ready"},
		{"selects nothing", anApp + service("selector: {app: wbe, tier: front}, "+ports), service("selector: {app: wbe, tier: front}, " + ports),
			"Service/web: ready [service-no-pods] Service/web (all.yaml:9): its selector app=wbe, tier=front matches no pod, so that nothing answers behind it"},
		{"a controller's pods", service("selector: {db: main}") + "---\napiVersion: example.com/v1\nkind: Database\nmetadata: {name: main}\n", service("selector: {db: main}") + "---\napiVersion: example.com/v1\nkind: Database\nmetadata: {name: main}\n",
			"Service/web: ready\nDatabase/main: ready"},
		{"somebody's pods", service("selector: {app: other}"), service("selector: {app: other}") + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: other}}\n", "Service/web: ready"},
		{"a port of no name", anApp + service("selector: {app: web}, ports: [{port: 80, targetPort: htpt}]"), service("selector: {app: web}, ports: [{port: 80, targetPort: htpt}]"),
			"Service/web: ready [service-no-port] Service/web (all.yaml:9): its port 80 goes to the port htpt, and no container of Deployment/web has one of this name"},
		{"a port that a webhook adds", anApp + service("selector: {app: web}, ports: [{port: 80, targetPort: mesh}]"), service("selector: {app: web}, ports: [{port: 80, targetPort: mesh}]") +
			"---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\nspec: {containers: [{name: side, ports: [{name: mesh, containerPort: 1}]}]}\n", "Service/web: ready"},
		{"no load balancer", anApp + balanced, balanced, "Service/web: ready (no load balancer has given it an address)"},
		{"external", service("type: ExternalName, externalName: example.com"), service("type: ExternalName, externalName: example.com"), "Service/web: ready"},
		{"not there", service("selector: {app: web}"), "", "Service/web: waits for its creation"},

		{"a rule", anApp + service("selector: {app: web}, "+ports) + to("web", "{number: 80}"), service("selector: {app: web}, " + ports), "Service/web: ready\nIngress/web: ready"},
		{"a rule by name", anApp + service("selector: {app: web}, "+ports) + to("web", "{name: http}"), service("selector: {app: web}, " + ports), "Service/web: ready\nIngress/web: ready"},
		{"a rule to nothing", strings.TrimPrefix(to("api", "{number: 80}"), "---\n"), "",
			"Ingress/web: ready [backend-missing] Ingress/web (all.yaml:7): its rule for shop.test/api sends to Service api, which is not there"},
		{"a rule to what an operator makes", "apiVersion: example.com/v1\nkind: Database\nmetadata: {name: main}\n" + to("main-rw", "{number: 80}"), "apiVersion: example.com/v1\nkind: Database\nmetadata: {name: main}\n",
			"Database/main: ready\nIngress/web: ready"},
		{"a rule to an annotation", strings.TrimPrefix(to("ssl-redirect", "{name: use-annotation}"), "---\n"), "", "Ingress/web: ready"},
		{"a rule to what the cluster has", strings.TrimPrefix(to("web", "{number: 80}"), "---\n"), service(ports), "Ingress/web: ready"},
		{"a rule to no port", strings.TrimPrefix(to("web", "{number: 81}"), "---\n"), service(ports),
			"Ingress/web: ready [backend-missing] Ingress/web (all.yaml:7): its rule for shop.test/api sends to port 81 of Service web, which has none of this kind"},
		{"a route to nothing", strings.TrimPrefix(strings.ReplaceAll(route, "NAME", "api"), "---\n"), strings.TrimPrefix(strings.ReplaceAll(route, "NAME", "api"), "---\n"),
			"HTTPRoute/web: ready [backend-missing] HTTPRoute/web (all.yaml:4): its rule for shop.test rule 1 sends to Service api, which is not there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := objectsOf(t, tc.manifests, tc.live, time.Now()); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// What says itself how it is, is taken at its word.
func TestCustomObjects(t *testing.T) {
	start := time.Unix(1000, 0).UTC()
	database := "apiVersion: example.com/v1\nkind: Database\nmetadata: {name: main, generation: 2}\n"
	crd := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: databases.example.com}\n"
	api := "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.example.com, creationTimestamp: \"" + start.Format(time.RFC3339) + "\"}\n"
	conditions := func(list string) string { return "status: {observedGeneration: 2, conditions: [" + list + "]}\n" }
	for _, tc := range []struct{ name, live, want string }{
		{"nothing said", database, "Database/main: ready"},
		{"ready", database + conditions("{type: Ready, status: 'True'}"), "Database/main: ready"},
		{"not ready", database + conditions("{type: Ready, status: 'False', reason: Booting, message: waits for its disk}"), "Database/main: waits for its controller: waits for its disk"},
		{"of an older generation", database + "status: {observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]}\n", "Database/main: waits for its controller: Database generation is 2, but latest observed generation is 1"},
		{"stalled", database + conditions("{type: Stalled, status: 'True', reason: X, message: no such flavour}"), "Database/main: waits for  [object-failed] Database/main (all.yaml:1): its controller gives it up | no such flavour"},
		{"quoting a password", database + conditions("{type: Stalled, status: 'True', reason: X, message: 'bad password=hunter2 of dev and key-of-db'}"), "Database/main: waits for  [object-failed] Database/main (all.yaml:1): its controller gives it up | bad password=*** of dev and HIDDEN"},
		{"unavailable", database + conditions("{type: Available, status: 'False', message: no leader}"), "Database/main: waits for its server to answer: no leader"},
		{"a name that is taken", crd + conditions("{type: NamesAccepted, status: 'False', reason: MultipleNamesNotAllowed, message: '\"db\" is already in use'}"),
			"CustomResourceDefinition/databases.example.com: waits for  [crd-not-established] CustomResourceDefinition/databases.example.com (all.yaml:1): the cluster does not serve it | \"db\" is already in use"},
		{"established", crd + conditions("{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}"), "CustomResourceDefinition/databases.example.com: ready"},
		{"an API that nobody has looked at", api, "APIService/v1.example.com: waits for its server to answer"},
		{"an API whose pods are replaced", api + conditions("{type: Available, status: 'False', reason: MissingEndpoints, message: no endpoints, lastTransitionTime: \""+start.Add(50*time.Second).UTC().Format(time.RFC3339)+"\"}"),
			"APIService/v1.example.com: waits for its server to answer: no endpoints"},
		{"an API that nobody serves", api + conditions("{type: Available, status: 'False', reason: ServiceNotFound, message: service/api is not present}"),
			"APIService/v1.example.com: waits for its server to answer: service/api is not present [apiservice-unavailable] APIService/v1.example.com (all.yaml:1): what serves this API does not answer | service/api is not present"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			manifest, _, _ := strings.Cut(tc.live, "status:")
			if got := objectsOf(t, manifest, tc.live, start.Add(time.Minute)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		if got := objectsOf(t, database, "", start); got != "Database/main: waits for its creation" {
			t.Error(got)
		}
	})
}
