package pods

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A Query names pods: by a regular expression on their name, or by what owns them.
type Query struct {
	Name *regexp.Regexp // nil for KIND/NAME

	Kind   Kind
	Object string // NAME of KIND/NAME
}

// A Kind is a word before the slash.
type Kind struct {
	Word string // as it was written
	Known
}

// Known is a kind that needs no discovery. Kind is "" for a word that only the
// cluster's discovery knows.
type Known struct {
	schema.GroupVersionResource
	Kind string
}

// kinds are stern's, with the same aliases, and cronjob.
var kinds = []struct {
	names []string
	Known
}{
	{[]string{"pod", "po", "pods"}, Known{core("pods"), "Pod"}},
	{[]string{"replicationcontroller", "rc", "replicationcontrollers"}, Known{core("replicationcontrollers"), "ReplicationController"}},
	{[]string{"service", "svc", "services"}, Known{core("services"), "Service"}},
	{[]string{"deployment", "deploy", "deployments"}, Known{apps("deployments"), "Deployment"}},
	{[]string{"daemonset", "ds", "daemonsets"}, Known{apps("daemonsets"), "DaemonSet"}},
	{[]string{"replicaset", "rs", "replicasets"}, Known{apps("replicasets"), "ReplicaSet"}},
	{[]string{"statefulset", "sts", "statefulsets"}, Known{apps("statefulsets"), "StatefulSet"}},
	{[]string{"job", "jobs"}, Known{batch("jobs"), "Job"}},
	{[]string{"cronjob", "cj", "cronjobs"}, Known{batch("cronjobs"), "CronJob"}},
}

func core(r string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: r}
}
func apps(r string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: r}
}
func batch(r string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: r}
}

// KindNames are the words for completion: the long name of each kind.
func KindNames() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.names[0])
	}
	return out
}

// KindByWord finds a kind that needs no discovery.
func KindByWord(word string) (Kind, bool) {
	for _, k := range kinds {
		for _, name := range k.names {
			if name == word {
				return Kind{Word: word, Known: k.Known}, true
			}
		}
	}
	return Kind{Word: word}, false
}

// Parse reads one argument. What holds a slash is KIND/NAME, which no regular
// expression on a pod's name could be.
func Parse(arg string) (Query, error) {
	if !strings.Contains(arg, "/") {
		re, err := regexp.Compile(arg)
		if err != nil {
			return Query{}, fmt.Errorf("failed to compile regular expression from query: %w", err)
		}
		return Query{Name: re}, nil
	}
	word, name, _ := strings.Cut(arg, "/")
	if word == "" || name == "" || strings.Contains(name, "/") {
		return Query{}, fmt.Errorf("resource must be specified in the form \"<resource>/<name>\", not %q", arg)
	}
	kind, _ := KindByWord(strings.ToLower(word))
	return Query{Kind: kind, Object: name}, nil
}

func (q Query) String() string {
	if q.Name != nil {
		return q.Name.String()
	}
	return q.Kind.Word + "/" + q.Object
}
