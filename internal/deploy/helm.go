package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A Chart is a helm chart as a source. Only its templates are helm's: what they
// render to is applied, pruned and waited for as everything else is.
type Chart struct {
	Chart     string         // folder or *.tgz, relative to the root, or oci://…, or https://REPOSITORY/NAME
	Version   string         // of one that is not of the project
	Release   string         // .Release.Name
	Namespace string         // .Release.Namespace
	Values    []string       // files, relative to the root, the last one wins
	Set       map[string]any // path as helm's --set has it → string, bool, int64, float64 or nil
	// Cluster is asked what it can, and by `lookup`; nil: what helm itself assumes,
	// and lookup finds nothing.
	Cluster *kube.Client
	Where   string
}

// unstableCall is a function whose result is another one at each render.
var unstableCall = regexp.MustCompile(`\b(?:rand(?:AlphaNum|Alpha|Numeric|Ascii|Bytes|Int)|gen(?:PrivateKey|CA|CAWithKey|SelfSignedCert|SelfSignedCertWithKey|SignedCert|SignedCertWithKey)|uuidv4|now|htpasswd|bcrypt|shuffle)\b`)

// helm adds the objects of a chart: its CRDs, then its templates by name.
func (m *Manifests) helm(ctx context.Context, root string, c *Chart) error {
	ch, err := m.chart(ctx, root, c)
	if err != nil {
		return err
	}
	values, err := m.values(root, c)
	if err != nil {
		return err
	}
	top := chartPlace(c)
	if err := chartutil.ProcessDependencies(ch, values); err != nil {
		return chartProblem(err, c, top)
	}
	first, err := c.execute(ctx, ch, values, top)
	if err != nil {
		return err
	}
	if text := templatesOf(ch); unstableCall.MatchString(text) {
		again, err := c.execute(ctx, ch, values, top)
		if err != nil {
			return err
		}
		markUnstable(first, again)
		if names := unnamed(first, again); names != "" {
			m.Notes = append(m.Notes, "chart "+c.Chart+" makes up other names at each render, so that an apply makes other objects: "+names)
		}
	} else if c.Cluster == nil && strings.Contains(text, "lookup ") {
		m.Notes = append(m.Notes, "chart "+c.Chart+" looks objects up in the cluster: without one it sees none")
	}
	noteInputs(first)
	m.Objects = append(m.Objects, first...)
	return nil
}

// chartPlace is how a chart's files are called in messages: below its folder.
func chartPlace(c *Chart) string {
	if strings.Contains(c.Chart, "://") {
		return c.Chart
	}
	return filepath.ToSlash(c.Chart)
}

func templatesOf(ch *chart.Chart) string {
	var b strings.Builder
	for _, f := range ch.Templates {
		b.Write(f.Data)
	}
	for _, d := range ch.Dependencies() {
		b.WriteString(templatesOf(d))
	}
	return b.String()
}

// values merges the files and what is set.
func (m *Manifests) values(root string, c *Chart) (map[string]any, error) {
	values := map[string]any{}
	for _, name := range c.Values {
		file := filepath.Join(root, filepath.FromSlash(name))
		m.files[file] = true
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, &problem.Problem{Class: problem.Usage, Code: "chart-values", Where: cmp.Or(c.Where, name), Summary: "there is no " + name, Hint: "create it, or correct `values:` in kdev.yaml"}
		}
		more := map[string]any{}
		if err := kyaml.Unmarshal(data, &more); err != nil {
			return nil, &problem.Problem{Class: problem.Usage, Code: "chart-values", Where: placeIn(root, file, lineOf(err, data)), Summary: "these are no values", Err: errors.New(withoutLine(err)),
				Hint: "look at this line and the one before it: indentation and quotes are the usual causes"}
		}
		values = util.MergeTables(more, values)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Set)) {
		// Only the path is helm's to read: kdev.yaml has said already what the value is.
		if err := strvals.ParseIntoFile(key+"=value", values, func([]rune) (any, error) { return c.Set[key], nil }); err != nil {
			return nil, &problem.Problem{Class: problem.Usage, Code: "chart-values", Where: cmp.Or(c.Where, c.Chart), Summary: "set: " + key + " cannot be set", Err: err, Hint: "write the path as helm's --set has it: web.replicas, hosts[0]"}
		}
	}
	return values, nil
}

// capabilities are those of the cluster.
func (c *Chart) capabilities(ctx context.Context) (*common.Capabilities, error) {
	if c.Cluster == nil {
		return common.DefaultCapabilities, nil
	}
	asked := discovery.ToDiscoveryInterfaceWithContext(c.Cluster.Core.Discovery())
	version, err := asked.ServerVersionWithContext(ctx)
	if err != nil {
		return nil, c.Cluster.Unreachable(err)
	}
	kubeVersion, err := common.ParseKubeVersion(version.GitVersion)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's version: %w", err)
	}
	groups, resources, err := asked.ServerGroupsAndResourcesWithContext(ctx)
	if err != nil && len(groups) == 0 { // an aggregated API that is down keeps no other from being known
		return nil, c.Cluster.Unreachable(err)
	}
	known := common.VersionSet{}
	for _, g := range groups {
		for _, v := range g.Versions {
			known = append(known, v.GroupVersion)
		}
	}
	for _, list := range resources {
		for _, r := range list.APIResources {
			known = append(known, list.GroupVersion+"/"+r.Kind)
		}
	}
	return &common.Capabilities{KubeVersion: *kubeVersion, APIVersions: known, HelmVersion: common.DefaultCapabilities.HelmVersion}, nil
}

// execute renders a chart once.
func (c *Chart) execute(ctx context.Context, ch *chart.Chart, values map[string]any, top string) ([]*Object, error) {
	capabilities, err := c.capabilities(ctx)
	if err != nil {
		return nil, err
	}
	if v := ch.Metadata.KubeVersion; v != "" && c.Cluster != nil && !chartutil.IsCompatibleRange(v, capabilities.KubeVersion.String()) {
		return nil, &problem.Problem{Class: problem.Usage, Code: "chart-kubernetes", Where: top, Summary: fmt.Sprintf("the chart wants Kubernetes %s, and the cluster has %s", v, capabilities.KubeVersion.Version),
			Hint: "use another version of the chart, or of the cluster: `cluster: {version: …}` in kdev.yaml"}
	}
	all, err := util.ToRenderValues(ch, values, common.ReleaseOptions{Name: c.Release, Namespace: c.Namespace, Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return nil, chartProblem(err, c, top)
	}
	e := engine.Engine{}
	if c.Cluster != nil {
		e = engine.New(c.Cluster.Config)
	}
	files, err := e.RenderWithContext(ctx, ch, all)
	if err != nil {
		return nil, chartProblem(err, c, top)
	}
	var objects []*Object
	for _, crd := range ch.CRDObjects() {
		more, err := chartObjects(crd.File.Data, place(top, ch.Name()+"/"+crd.File.Name))
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		base := path.Base(name)
		if strings.HasPrefix(base, "_") || base == "NOTES.txt" {
			continue
		}
		more, err := chartObjects([]byte(files[name]), place(top, name))
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return hooked(objects), nil
}

// place turns helm's name of a template ("shop/templates/web.yaml") into its path.
func place(top, name string) string {
	_, rest, _ := strings.Cut(name, "/")
	return path.Join(top, rest)
}

// chartObjects reads what a template rendered to.
func chartObjects(data []byte, origin string) ([]*Object, error) {
	var objects []*Object
	invalid := func(cause string) error {
		return &problem.Problem{Class: problem.Usage, Code: "manifest-invalid", Where: origin, Summary: "the template renders to no Kubernetes manifest", Err: errors.New(cause),
			Hint: "`helm template --debug` of the chart shows what it renders to"}
	}
	err := eachDocument(data, func(node *yaml.Node) error {
		if cause := notMapping(node); cause != "" {
			return invalid(cause)
		}
		text, err := yaml.Marshal(node)
		if err != nil {
			return invalid(err.Error())
		}
		var u unstructured.Unstructured
		if err := kyaml.Unmarshal(text, &u.Object); err != nil {
			return invalid(err.Error())
		}
		if u.GetAPIVersion() == "" || u.GetKind() == "" {
			return invalid("apiVersion or kind is missing")
		}
		if _, cause := notText(node, &u); cause != "" {
			return invalid(cause)
		}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return invalid(err.Error())
			}
			for i := range list.Items {
				objects = append(objects, &Object{Unstructured: &list.Items[i], Origin: origin})
			}
			return nil
		}
		objects = append(objects, &Object{Unstructured: &u, Origin: origin})
		return nil
	})
	if err != nil && problem.As(err) == nil {
		lines := strings.Split(string(data), "\n")
		text := withoutLine(err)
		if n := lineOf(err, data); n > 0 && n <= len(lines) {
			text += fmt.Sprintf(" at line %d of what it renders to: %s", n, strings.TrimSpace(lines[n-1]))
		}
		return nil, invalid(text)
	}
	return objects, err
}

// templatePlace finds template and line in a message of the template engine.
var templatePlace = regexp.MustCompile(`([\w.-]+(?:/[\w.-]+)+\.(?:ya?ml|tpl|txt)):(\d+)(?::\d+)?`)

// chartProblem turns helm's message into a place and a cause.
func chartProblem(err error, c *Chart, top string) error {
	p := &problem.Problem{Class: problem.Usage, Code: "render-failed", Where: top, Summary: "the chart does not render",
		Hint: "`helm template " + c.Chart + "` should say the same; mend it and save"}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if found := templatePlace.FindAllStringSubmatch(text, -1); found != nil {
		// The last is where it happened; those before are who included it.
		last := found[len(found)-1]
		n, _ := strconv.Atoi(last[2])
		p.Where = fmt.Sprintf("%s:%d", place(top, last[1]), n)
		if _, rest, ok := strings.Cut(text, last[0]+": "); ok {
			text = rest
		}
	}
	p.Err = errors.New(bothEnds(text, 400))
	return p
}
