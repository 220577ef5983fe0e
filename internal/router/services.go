package router

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// httpNumbers are ports on which a Service most likely speaks HTTP when nothing
// else says what it speaks.
var httpNumbers = []int32{80, 3000, 4200, 5000, 5173, 8000, 8080, 8081, 8088, 8888, 9000}

// Services lists the Services of a namespace that seem to speak HTTP, with the port on
// which they do: what its appProtocol says, else its name, else its number.
func Services(objects []*unstructured.Unstructured, namespace string) []Backend {
	var all []Backend
	for _, o := range objects {
		if ns := o.GetNamespace(); o.GetKind() != "Service" || o.GroupVersionKind().Group != "" || ns != "" && ns != namespace {
			continue
		}
		var svc corev1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &svc); err != nil {
			continue // the API server's to refuse
		}
		if port, ok := httpPort(svc.Spec.Ports); ok && svc.Spec.Type != corev1.ServiceTypeExternalName {
			all = append(all, Backend{Service: svc.Name, Port: intstr.FromInt32(port), Weight: 1})
		}
	}
	return all
}

func httpPort(ports []corev1.ServicePort) (int32, bool) {
	for _, says := range []func(corev1.ServicePort) bool{
		func(p corev1.ServicePort) bool {
			return p.AppProtocol != nil && (strings.EqualFold(*p.AppProtocol, "http") || *p.AppProtocol == "kubernetes.io/ws")
		},
		func(p corev1.ServicePort) bool {
			return p.AppProtocol == nil && (p.Name == "http" || p.Name == "web" || strings.HasPrefix(p.Name, "http-") || strings.HasSuffix(p.Name, "-http"))
		},
		func(p corev1.ServicePort) bool {
			return p.AppProtocol == nil && slices.Contains(httpNumbers, p.Port)
		},
	} {
		for _, p := range ports {
			if (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) && says(p) {
				return p.Port, true
			}
		}
	}
	return 0, false
}
