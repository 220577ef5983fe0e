package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// An Image is what a service builds, for injection into manifests.
type Image struct {
	Service    string
	Repository string   // that manifests name; "": one whose last path component is Service
	Ref        string   // what is put in its place; "": nothing yet, uses are only found
	Prefix     []string // put before a container's own command: the dev image's entrypoint, the agent first
	Volumes    []string // folders of the image over which a writable copy is mounted; with Prefix
	Restarts   bool     // the process may be restarted in place; with Prefix
}

// Matches says whether a manifest's reference means this image.
func (im Image) Matches(ref string) bool {
	repo := repository(ref)
	if im.Repository != "" {
		return repo == repository(im.Repository)
	}
	return repo[strings.LastIndexByte(repo, '/')+1:] == im.Service
}

// repository is a reference without tag and digest.
func repository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	return ref
}

// A Use is one place of a manifest that runs a service's image.
type Use struct {
	Object    Ref
	Container string // "" outside of pod specs
	Field     string // "spec.template.spec.containers[0].image"
}

// An Injection says what Inject found.
type Injection struct {
	Uses       map[string][]Use // by service
	Unused     []string         // services whose image no manifest names
	Lookalikes []string         // a sentence for each reference that is probably meant to be ours
	Declared   []Declared       // what else than images was changed
}

// Inject puts references in the place of the images that manifests name: in
// pod specs by repository, anywhere else by value. It writes to objects.
func Inject(objects []*Object, images []Image) *Injection {
	in := &Injection{Uses: map[string][]Use{}}
	for _, o := range objects {
		if IsWorkload(o) {
			in.workload(o, images)
		} else {
			in.values(o, images)
		}
	}
	for _, im := range images {
		if len(in.Uses[im.Service]) == 0 {
			in.Unused = append(in.Unused, im.Service)
		}
	}
	return in
}

func (in *Injection) workload(o *Object, images []Image) {
	in.imageVolumes(o, images)
	eachPodContainer(o, func(pod, c map[string]any, list, field string) {
		ref, _ := c["image"].(string)
		if ref == "" {
			return
		}
		i := slices.IndexFunc(images, func(im Image) bool { return im.Matches(ref) })
		if i < 0 {
			in.lookalike(o, field, ref, images)
			return
		}
		im := images[i]
		containerName, _ := c["name"].(string)
		in.Uses[im.Service] = append(in.Uses[im.Service], Use{RefOf(o), containerName, field + ".image"})
		if im.Ref == "" {
			return
		}
		c["image"] = im.Ref
		if command, ok := c["command"].([]any); ok && len(command) > 0 && len(im.Prefix) > 0 {
			whole := make([]any, 0, len(im.Prefix)+len(command))
			for _, p := range im.Prefix {
				whole = append(whole, p)
			}
			c["command"] = append(whole, command...)
			in.Declared = append(in.Declared, Declared{RefOf(o), field + ".command", "the agent runs the command"})
		}
		// What ends before the others begin has nothing to gain from saves; a native sidecar
		// runs on beside them (KEP-753).
		stays := list == "containers" || c["restartPolicy"] == "Always"
		if len(im.Volumes) > 0 && len(im.Prefix) > 0 && stays {
			in.volumes(o, pod, c, field, im)
		}
		if im.Restarts && len(im.Prefix) > 0 {
			in.liveness(o, c, field)
		}
	})
}

// imageVolumes replaces references in volumes whose content is an image
// (`volumes: [{image: {reference: …}}]`). Nothing runs there, so it is the image alone.
func (in *Injection) imageVolumes(o *Object, images []Image) {
	path := podSpecPath(o)
	spec, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	pod, _ := spec.(map[string]any)
	volumes, _ := pod["volumes"].([]any)
	for i, v := range volumes {
		volume, _ := v.(map[string]any)
		source, _ := volume["image"].(map[string]any)
		ref, _ := source["reference"].(string)
		if ref == "" {
			continue
		}
		field := fieldPath(append(slices.Clone(path), "volumes"), i) + ".image.reference"
		for _, im := range images {
			if !im.Matches(ref) {
				continue
			}
			in.Uses[im.Service] = append(in.Uses[im.Service], Use{RefOf(o), "", field})
			if im.Ref != "" {
				source["reference"] = im.Ref
			}
			break
		}
	}
}

// values replaces references in objects of kinds that kdev knows nothing of, by
// their value: our explicit repository, whatever field it is in. Where a service
// is known by its name alone, "charts/web" may as well be a path: then it takes a
// tag or digest, or a field that is called image.
func (in *Injection) values(o *Object, images []Image) {
	switch o.GetKind() {
	case "ConfigMap", "Secret", "Service", "Namespace", "Ingress", "ServiceAccount", "CustomResourceDefinition":
		return // their strings are data, not images that something runs
	}
	walkStrings(o.Object, "", func(value, field string) (string, bool) {
		if strings.Contains(value, "://") {
			return "", false
		}
		tagged := repository(value) != value
		called := strings.HasSuffix(strings.ToLower(field), "image")
		for _, im := range images {
			if !im.Matches(value) || im.Repository == "" && !(called || tagged && strings.Contains(value, "/")) {
				continue
			}
			if _, err := name.ParseReference(value); err != nil {
				continue
			}
			in.Uses[im.Service] = append(in.Uses[im.Service], Use{RefOf(o), "", field})
			return im.Ref, im.Ref != ""
		}
		return "", false
	})
}

// walkStrings calls fn for every string below v and puts in what fn returns.
func walkStrings(v any, field string, fn func(value, field string) (string, bool)) {
	visit := func(child any, at string, set func(string)) {
		if s, ok := child.(string); ok {
			if new, replace := fn(s, at); replace {
				set(new)
			}
			return
		}
		walkStrings(child, at, fn)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			child := v[key]
			if field == "" && (key == "metadata" || key == "apiVersion" || key == "kind") {
				continue
			}
			visit(child, strings.TrimPrefix(field+"."+key, "."), func(s string) { v[key] = s })
		}
	case []any:
		for i, child := range v {
			visit(child, fmt.Sprintf("%s[%d]", field, i), func(s string) { v[i] = s })
		}
	}
}

// lookalike tells of a reference whose name is nearly a service's.
func (in *Injection) lookalike(o *Object, field, ref string, images []Image) {
	repo := repository(ref)
	last := repo[strings.LastIndexByte(repo, '/')+1:]
	for _, im := range images {
		if im.Repository != "" && last == im.Service {
			in.Lookalikes = append(in.Lookalikes, fmt.Sprintf("%s %s.image is %s, but services.%s.image says %s: it is left as it is", RefOf(o), field, ref, im.Service, im.Repository))
			return
		}
	}
}

// Forgotten tells of workloads whose image nobody makes although a folder for it is there,
// by name: most likely it was left out of a list of services.
func Forgotten(objects []*Object, folders map[string]string, images []Image) (all []string) {
	for _, o := range objects {
		eachContainer(o, func(c map[string]any, field string) {
			ref, _ := c["image"].(string)
			repo := repository(ref)
			name := repo[strings.LastIndexByte(repo, '/')+1:]
			folder, there := folders[name]
			ours := func(im Image) bool { return im.Matches(ref) }
			if there && !slices.ContainsFunc(images, ours) {
				all = append(all, fmt.Sprintf("%s runs %s, which nothing here makes: %s has a Dockerfile, and `services` of kdev.yaml does not list %s", RefOf(o), ref, folder, name))
			}
		})
	}
	return all
}

// ImageRefs lists the references that the pod specs of objects name, each once.
func ImageRefs(objects []*Object) []string {
	var refs []string
	for _, o := range objects {
		eachContainer(o, func(c map[string]any, _ string) {
			if ref, _ := c["image"].(string); ref != "" && !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		})
	}
	return refs
}

// fieldPath writes a field as people and the API server do.
func fieldPath(path []string, index int) string {
	return fmt.Sprintf("%s[%d]", strings.Join(path, "."), index)
}
