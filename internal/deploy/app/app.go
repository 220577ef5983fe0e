package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/kdev-io/kdev/internal/config"
)

// A Rendered is one object.
type Rendered struct {
	Object map[string]any
	Where  string         // "kdev.yaml:7"
	Part   string         // service or store of which it is a part; "" for a Secret of its own
	Store  string         // of which store it is a part
	Secret *config.Secret // where the values of a Secret come from
}

// object is a part of a manifest, as YAML has it.
type object = map[string]any

// Objects renders an environment: Secrets, stores and services, by name.
func Objects(a *config.Apps) ([]Rendered, error) {
	var all []Rendered
	for _, s := range a.Secrets {
		if !s.External {
			all = append(all, Rendered{Object: secret(a.Project, s), Where: s.Where, Secret: &s})
		}
	}
	for _, s := range a.Stores {
		own := password(s)
		all = append(all,
			Rendered{Object: secret(a.Project, own), Where: s.Where, Part: s.Name, Store: s.Name, Secret: &own},
			Rendered{Object: store(a.Project, s), Where: s.Where, Part: s.Name, Store: s.Name},
			Rendered{Object: service(a.Project, s.Name, kinds[s.Kind].port, s.Kind), Where: s.Where, Part: s.Name, Store: s.Name})
	}
	for _, s := range a.Services {
		all = append(all, Rendered{Object: deployment(a.Project, s), Where: s.Where, Part: s.Name})
		if s.Port != 0 {
			all = append(all, Rendered{Object: service(a.Project, s.Name, s.Port, portName), Where: s.Where, Part: s.Name})
		}
		if s.Host != "" {
			all = append(all, Rendered{Object: ingress(a.Project, s), Where: s.Where, Part: s.Name})
		}
	}
	for i := range all {
		// The types that YAML is read into, so that copies and comparisons work.
		text, err := json.Marshal(all[i].Object)
		if err == nil {
			all[i].Object = nil
			err = utiljson.Unmarshal(text, &all[i].Object)
		}
		if err != nil {
			return nil, fmt.Errorf("rendering %s: %w", all[i].Where, err)
		}
	}
	return all, nil
}

const portName = "http"

func labels(project, name string) object {
	return object{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": project}
}

func meta(project, name string) object {
	return object{"name": name, "labels": labels(project, name)}
}

func deployment(project string, s config.App) object {
	container := object{
		"name": s.Name, "image": s.Image,
		"resources":       resources(s.CPU, s.Memory),
		"securityContext": confined(),
	}
	if len(s.Command) > 0 {
		container["command"] = s.Command
	}
	if env := variables(s); len(env) > 0 {
		container["env"] = env
	}
	var from []any
	for _, name := range s.Secrets {
		from = append(from, object{"secretRef": object{"name": name}})
	}
	if from != nil {
		container["envFrom"] = from
	}
	if s.Port != 0 {
		container["ports"] = []any{object{"name": portName, "containerPort": s.Port}}
		answers := object{"tcpSocket": object{"port": portName}}
		if s.Health != "" {
			answers = object{"httpGet": object{"path": s.Health, "port": portName}}
		}
		probes(container, answers)
	}
	spec := pod([]any{container})
	security := object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}}
	if s.User != 0 {
		security["runAsUser"], security["runAsGroup"], security["fsGroup"] = s.User, s.User, s.User
	}
	spec["securityContext"] = security
	if s.Replicas > 1 {
		spec["topologySpreadConstraints"] = []any{object{
			"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
			"labelSelector": object{"matchLabels": labels(project, s.Name)},
		}}
	}
	return object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(project, s.Name),
		"spec": object{
			"replicas": s.Replicas,
			"selector": object{"matchLabels": labels(project, s.Name)},
			"strategy": object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": 1, "maxUnavailable": 0}},
			"template": object{"metadata": object{"labels": labels(project, s.Name)}, "spec": spec},
		},
	}
}

// variables are those of the needs, then those of kdev.yaml, by name: a URL refers to
// the password before it, and a variable of kdev.yaml may refer to the URL.
func variables(s config.App) []any {
	var env []any
	set := map[string]bool{} // passwords: two needs may name one store
	for _, n := range s.Needs {
		password := passwordVariable(n.Store)
		if _, own := s.Env[n.Env]; own {
			continue // kdev.yaml sets it otherwise
		}
		if own, ok := s.Env[password]; ok && !set[password] {
			env = append(env, object{"name": password, "value": own})
		} else if !set[password] {
			env = append(env, fromSecret(password, n.Store))
		}
		set[password] = true
		env = append(env, object{"name": n.Env, "value": kinds[n.Kind].url(n.Store, "$("+password+")")})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if !set[name] {
			env = append(env, object{"name": name, "value": s.Env[name]})
		}
	}
	return env
}

func passwordVariable(store string) string {
	return strings.ToUpper(strings.ReplaceAll(store, "-", "_")) + "_PASSWORD"
}

func fromSecret(variable, secret string) object {
	return object{"name": variable, "valueFrom": object{"secretKeyRef": object{"name": secret, "key": passwordKey}}}
}

// pod is what each pod spec has. Without enableServiceLinks a Service called redis
// would set REDIS_PORT, which many programs read as a number.
func pod(containers []any) object {
	return object{"containers": containers, "automountServiceAccountToken": false, "enableServiceLinks": false}
}

// confined is what the Pod Security level "restricted" wants of a container.
func confined() object {
	return object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []any{"ALL"}}}
}

// resources have no limit of CPU: it would slow a pod down while the node idles.
func resources(cpu, memory string) object {
	return object{"requests": object{"cpu": cpu, "memory": memory}, "limits": object{"memory": memory}}
}

// probes give a container two minutes to start; then it gets no traffic while it does
// not answer, and is started again when it has not answered for a minute.
func probes(container, answers object) {
	probe := func(period, failures int) object {
		p := maps.Clone(answers)
		p["periodSeconds"], p["failureThreshold"], p["timeoutSeconds"] = period, failures, 3
		return p
	}
	container["startupProbe"] = probe(1, 120)
	container["readinessProbe"] = probe(5, 2)
	container["livenessProbe"] = probe(20, 3)
}

func service(project, name string, port int, portName string) object {
	return object{
		"apiVersion": "v1", "kind": "Service", "metadata": meta(project, name),
		"spec": object{"selector": labels(project, name), "ports": []any{object{"name": portName, "port": port, "targetPort": portName}}},
	}
}

func ingress(project string, s config.App) object {
	backend := object{"service": object{"name": s.Name, "port": object{"name": portName}}}
	return object{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta(project, s.Name),
		"spec": object{"rules": []any{object{
			"host": s.Host,
			"http": object{"paths": []any{object{"path": "/", "pathType": "Prefix", "backend": backend}}},
		}}},
	}
}
