package app

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/kdev-io/kdev/internal/config"
)

// A kind is how one of the things that kdev makes is run. Its image is the official one
// of that name, or one that takes the same variables.
type kind struct {
	port  int
	user  int               // that the image's files are made for
	data  string            // where the volume is
	temp  map[string]string // name of an empty volume → where it is: the root is read-only
	env   []any             // beside the password
	args  []any
	ready []any // command that succeeds when it answers over the network
	// password is the variable that the image, or the command, reads it from.
	password string
	// url is how a client finds it.
	url func(host, password string) string
	cpu string
	mem string
}

// database is the name of the user and of the database.
const database = "app"

// kinds is never written to after initialisation.
var kinds = map[string]kind{
	"postgres": {
		port: 5432, user: 999, data: "/var/lib/postgresql/data", temp: map[string]string{"run": "/var/run/postgresql", "tmp": "/tmp"}, cpu: "100m", mem: "512Mi",
		password: "POSTGRES_PASSWORD",
		env: []any{
			object{"name": "POSTGRES_USER", "value": database},
			object{"name": "POSTGRES_DB", "value": database},
			// Below the volume's root: some have a lost+found there.
			object{"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
		},
		// Over TCP: while the database is made, a server without it answers on the socket.
		ready: []any{"pg_isready", "-h", "127.0.0.1", "-U", database, "-d", database},
		url: func(host, password string) string {
			return "postgresql://" + database + ":" + password + "@" + net.JoinHostPort(host, "5432") + "/" + database + "?sslmode=disable"
		},
	},
	"redis": {
		port: 6379, user: 999, data: "/data", temp: map[string]string{"tmp": "/tmp"}, cpu: "50m", mem: "256Mi",
		password: "REDISCLI_AUTH", // redis-cli of the probe reads it
		args:     []any{"redis-server", "--appendonly", "yes", "--requirepass", "$(REDISCLI_AUTH)"},
		// redis-cli ends with 0 when the server answers that it is still loading.
		ready: []any{"sh", "-c", "redis-cli ping | grep -q PONG"},
		url: func(host, password string) string {
			return "redis://:" + password + "@" + net.JoinHostPort(host, strconv.Itoa(6379)) + "/0"
		},
	},
}

// store is a StatefulSet with a volume.
func store(project string, s config.Store) object {
	k := kinds[s.Kind]
	security := confined()
	security["readOnlyRootFilesystem"] = true
	mounts := []any{object{"name": "data", "mountPath": k.data}}
	var volumes []any
	for _, name := range slices.Sorted(maps.Keys(k.temp)) {
		mounts = append(mounts, object{"name": name, "mountPath": k.temp[name]})
		volumes = append(volumes, object{"name": name, "emptyDir": object{}})
	}
	container := object{
		"name": s.Kind, "image": s.Image,
		"ports":           []any{object{"name": s.Kind, "containerPort": k.port}},
		"env":             append([]any{fromSecret(k.password, s.Name)}, k.env...),
		"resources":       resources(k.cpu, k.mem),
		"securityContext": security,
		"volumeMounts":    mounts,
	}
	if k.args != nil {
		container["args"] = k.args
	}
	probes(container, object{"exec": object{"command": k.ready}})
	// To recover takes as long as it takes; one that is killed in it begins anew.
	container["startupProbe"].(object)["failureThreshold"] = 3600
	spec := pod([]any{container})
	spec["securityContext"] = object{
		"runAsNonRoot": true, "runAsUser": k.user, "runAsGroup": k.user, "fsGroup": k.user, "fsGroupChangePolicy": "OnRootMismatch",
		"seccompProfile": object{"type": "RuntimeDefault"},
	}
	spec["volumes"] = volumes
	return object{
		"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta(project, s.Name),
		"spec": object{
			"serviceName": s.Name, "replicas": 1,
			"selector": object{"matchLabels": labels(project, s.Name)},
			"template": object{"metadata": object{"labels": labels(project, s.Name)}, "spec": spec},
			"volumeClaimTemplates": []any{object{
				"metadata": object{"name": "data"},
				"spec":     object{"accessModes": []any{"ReadWriteOnce"}, "resources": object{"requests": object{"storage": s.Storage}}},
			}},
		},
	}
}

const passwordKey = "password"

// password is the Secret of a store.
func password(s config.Store) config.Secret {
	return config.Secret{Name: s.Name, Generate: []string{passwordKey}, Where: s.Where}
}
