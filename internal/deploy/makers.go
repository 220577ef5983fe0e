package deploy

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// makers are objects that may make others which no manifest holds: those of custom kinds,
// whose controllers make what they name, and Jobs whose commands do.
type makers struct {
	names    []string // what objects of custom kinds name
	owners   []string // their own names: the controller of a db may make db-rw and db-app
	commands []string // of Jobs, in lower case
}

func makersOf(objects []*Object) *makers {
	m := &makers{}
	for _, o := range objects {
		switch gk := o.GroupVersionKind().GroupKind(); {
		case gk == crdKind: // it is its instances that are looked after
		case isFollowed(gk), !scheme.Scheme.Recognizes(o.GroupVersionKind()): // a new kind of Kubernetes, or a mistake in its name
			m.names = append(m.names, stringsOf(o)...)
			if gk.Group != "gateway.networking.k8s.io" { // rules, which send to what others make
				m.owners = append(m.owners, o.GetName())
			}
		case gk == jobKind, gk == podKind && o.Hook != nil:
			eachContainer(o, func(c map[string]any, _ string) {
				m.commands = append(m.commands, strings.ToLower(commandOf(c)))
			})
		}
	}
	return m
}

// commandOf is what a container runs, in one text.
func commandOf(c map[string]any) string {
	var all []string
	for _, field := range []string{"command", "args"} {
		list, _ := c[field].([]any)
		for _, item := range list {
			if text, ok := item.(string); ok {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, " ")
}

// custom says whether an object of a custom kind may make one of this name.
func (m *makers) custom(name string) bool { return slices.Contains(m.names, name) || m.owns(name) }

// owns says whether an object of a custom kind has this name, or the beginning of it.
func (m *makers) owns(name string) bool {
	return slices.ContainsFunc(m.owners, func(owner string) bool { return name == owner || strings.HasPrefix(name, owner+"-") })
}

// may says whether anything may make an object. A Job counts when its command speaks of
// the kind and has the name as a word: `kubectl create secret generic web-cert`,
// `--secret-name=web-cert`.
func (m *makers) may(kind, name string) bool {
	return m.custom(name) || slices.ContainsFunc(m.commands, func(command string) bool {
		return strings.Contains(command, strings.ToLower(kind)) && slices.ContainsFunc(strings.FieldsFunc(command, isNoName), func(word string) bool {
			return strings.Trim(word, "-.") == name
		})
	})
}

// isNoName says whether a letter stands in no object's name.
func isNoName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.')
}

// madeByCluster are objects that every namespace gets, a new one a moment later.
var madeByCluster = map[readKey]bool{
	{kind: "ConfigMap", name: "kube-root-ca.crt"}:         true,
	{kind: "ConfigMap", name: "openshift-service-ca.crt"}: true,
	{kind: "ServiceAccount", name: "default"}:             true,
}

var statefulSetKind = schema.GroupKind{Group: "apps", Kind: "StatefulSet"}

// claimsOf are the beginnings of the names of the claims that a StatefulSet makes, which
// end in the number of a pod.
func claimsOf(o *Object) []string {
	if o.GroupVersionKind().GroupKind() != statefulSetKind {
		return nil
	}
	spec, _ := o.Object["spec"].(map[string]any)
	templates, _ := spec["volumeClaimTemplates"].([]any)
	var all []string
	for _, t := range templates {
		template, _ := t.(map[string]any)
		metadata, _ := template["metadata"].(map[string]any)
		if name, _ := metadata["name"].(string); name != "" {
			all = append(all, name+"-"+o.GetName()+"-")
		}
	}
	return all
}

// isClaimOf says whether a claim is one of a StatefulSet's.
func isClaimOf(claim string, beginnings []string) bool {
	return slices.ContainsFunc(beginnings, func(begin string) bool {
		number, ok := strings.CutPrefix(claim, begin)
		return ok && number != "" && strings.Trim(number, "0123456789") == ""
	})
}
