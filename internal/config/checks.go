package config

import (
	"path"
	"regexp"
	"strings"
)

// A check is a rule for one string: the expression is what the schema can
// say, test what only code can, and want completes "… is not".
type check struct {
	expr string
	test func(string) bool
	want string
	hint string
}

// checks is never written to after initialisation.
var checks = map[string]check{
	"label": {
		expr: `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`,
		want: "a name that Kubernetes takes",
		hint: "use at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
	},
	"secret": {
		expr: `^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`,
		want: "a name that Kubernetes takes",
		hint: "use lower-case letters, digits, dashes and dots, with a letter or digit at both ends",
	},
	"secretID": {
		expr: `^[A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?$`,
		want: "the ID of a build secret",
		hint: "use letters, digits, dashes, dots and underscores, as id= of the mount has it",
	},
	"host": {
		expr: `^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`,
		want: "a host name",
		hint: "write it without scheme, port and path: shop.example.com",
	},
	"quantity": {
		expr: `^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`,
		want: "a quantity of Kubernetes",
		hint: "write it as 100m or 0.5 for processors, as 128Mi or 1Gi for memory and volumes",
	},
	"buildkit": {
		expr: `^(cluster|(tcp|unix|ssh|kube-pod|docker-container|podman-container|nerdctl-container)://.+)$`,
		want: "an address of BuildKit",
		hint: "write it as buildctl does, tcp://HOST:1234 or unix:///run/buildkit/buildkitd.sock, or write cluster",
	},
	"repository": {
		expr: `^[a-z0-9]+([._:-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`,
		test: func(s string) bool { return !strings.Contains(s[strings.LastIndex(s, "/")+1:], ":") },
		want: "an image repository",
		hint: "write it as the manifests do, without tag and digest, for example ghcr.io/acme/webui",
	},
	"kubernetes": {
		expr: `^v?1\.[0-9]+(\.[0-9]+)?$`,
		want: "a Kubernetes version",
		hint: "write it as v1.36 or v1.36.3",
	},
	"constraint": {
		expr: `^(>=|>|<=|<|=)? ?v?[0-9]+(\.[0-9]+){0,2}$`,
		want: "a version with a comparison before it",
		hint: `write it as ">=0.3"`,
	},
	"variable": {
		expr: `^[A-Za-z_][A-Za-z0-9_]*$`,
		want: "a variable's name",
		hint: "use letters, digits and underscores, with no digit at the start",
	},
	"inside": {
		expr: `^[^/]`,
		test: inside,
		want: "a path inside the project",
		hint: "write it relative to kdev.yaml, and keep it below that folder",
	},
	"manifest": {
		expr: `^(https?://[^#]+#sha256=[0-9a-f]{64}|[^/]([^:]|:[^/])*)$`,
		test: func(s string) bool { return strings.Contains(s, "://") || inside(s) },
		want: "a path inside the project, nor an address with its hash",
		hint: "write the path relative to kdev.yaml; write an address as https://HOST/FILE#sha256=HASH, so that the same manifests come out tomorrow: curl -sL ADDRESS | sha256sum prints the hash",
	},
	"chart": {
		expr: `^((oci|https?)://.+|[^/:]([^:]*[^/:])?)$`,
		test: func(s string) bool { return strings.Contains(s, "://") || inside(s) },
		want: "a chart of the project, of an OCI registry or of a chart repository",
		hint: "name a folder or package below kdev.yaml, or oci://REGISTRY/CHART or https://REPOSITORY/CHART with a version",
	},
	"absolute": {
		expr: `^/`,
		want: "an absolute path",
		hint: "write where the file is in the container, from the root on: /app/src",
	},
	"signal": {
		expr: `^(SIG)?(HUP|INT|QUIT|USR1|USR2|TERM|WINCH)$`,
		want: "a signal that kdev sends",
		hint: "take one of HUP, INT, QUIT, USR1, USR2, TERM, WINCH",
	},
}

var checkExprs = func() map[string]*regexp.Regexp {
	m := map[string]*regexp.Regexp{}
	for name, c := range checks {
		m[name] = regexp.MustCompile(c.expr)
	}
	return m
}()

func (c check) holds(name, s string) bool {
	return checkExprs[name].MatchString(s) && (c.test == nil || c.test(s))
}

// inside says whether a slash path, taken from a folder, stays in that folder.
func inside(p string) bool {
	if p == "" || strings.HasPrefix(p, "/") || strings.ContainsRune(p, 0) {
		return false
	}
	c := path.Clean(p)
	return c != ".." && !strings.HasPrefix(c, "../")
}
