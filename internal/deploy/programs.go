package deploy

import (
	"path"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// An ImageView is what is known of an image without running it.
type ImageView struct {
	Entrypoint, Cmd, Env []string
	WorkingDir           string
	// Has says whether there is anything at a path. It is not sure where a link on the way
	// leads to what only a container may have.
	Has func(path string) (there, sure bool)
}

// systemPath is where runtimes look for a program when nothing says PATH.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Programs finds containers of objects that cannot start because the program that they are
// to run is not in their image, before a node has tried: a kubelet tells it up to a second
// and a half later. It is silent where anything else might bring the program: a volume, a
// variable, an image that view does not know. prefix is what kdev itself puts before commands.
//
// Doubts: command-not-found.
func (d *Deployer) Programs(objects []*Object, prefix []string, view func(image string) (*ImageView, bool)) []*problem.Problem {
	var doubts []*problem.Problem
	for _, o := range objects {
		eachContainer(o, func(c map[string]any, field string) {
			image, _ := c["image"].(string)
			name, _ := c["name"].(string)
			v, ok := view(image)
			if !ok {
				return
			}
			program, lacks := lacksProgram(c, prefix, v)
			if !lacks {
				return
			}
			hint := "correct `command:` there; the image has no such file"
			if _, own := c["command"].([]any); !own {
				hint = "correct ENTRYPOINT or CMD in the Dockerfile"
			}
			p := &problem.Problem{
				Class: problem.Rollout, Code: "command-not-found", Where: at(RefOf(o).String(), d.placeOf(o, program, "")),
				Summary: "container " + name + " cannot start: its command " + program + " is not in the image", Hint: hint,
			}
			_, doubt := d.hidden("", p)
			doubts = append(doubts, doubt)
		})
	}
	return doubts
}

// lacksProgram says whether the program that a container is to run is surely not there.
func lacksProgram(c map[string]any, prefix []string, v *ImageView) (program string, lacks bool) {
	command, args := textsOf(c["command"]), textsOf(c["args"])
	argv := append(slices.Clone(command), args...)
	if len(command) == 0 {
		if len(args) == 0 {
			args = v.Cmd
		}
		argv = append(slices.Clone(v.Entrypoint), args...)
	}
	if n := len(prefix); n > 0 && len(argv) >= n && slices.Equal(argv[:n], prefix) {
		argv = argv[n:]
	}
	if len(argv) == 0 || argv[0] == "" || strings.Contains(argv[0], "$(") {
		return "", false
	}
	program = argv[0]
	dir, _ := c["workingDir"].(string)
	if dir == "" {
		dir = v.WorkingDir
	}
	candidates := []string{path.Join("/", dir, program)}
	if path.IsAbs(program) {
		candidates = []string{path.Clean(program)}
	}
	if !strings.Contains(program, "/") {
		folders, known := searchPath(c, v.Env)
		if !known {
			return "", false
		}
		candidates = candidates[:0]
		for _, folder := range strings.Split(folders, ":") {
			if !path.IsAbs(folder) {
				folder = path.Join("/", dir, folder)
			}
			candidates = append(candidates, path.Join(folder, program))
		}
	}
	for _, p := range candidates {
		if isMounted(c, p) {
			return "", false
		}
		if there, sure := v.Has(p); there || !sure {
			return "", false
		}
	}
	return program, true
}

// searchPath is PATH as the container will have it; not known is one that the cluster fills in.
func searchPath(c map[string]any, image []string) (folders string, known bool) {
	if from, _ := c["envFrom"].([]any); len(from) > 0 {
		return "", false
	}
	folders = systemPath
	for _, e := range image {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			folders = value
		}
	}
	env, _ := c["env"].([]any)
	for _, e := range env {
		m, _ := e.(map[string]any)
		if m["name"] != "PATH" {
			continue
		}
		value, ok := m["value"].(string)
		if !ok || strings.Contains(value, "$(") {
			return "", false
		}
		folders = value
	}
	return folders, true
}

// isMounted says whether a volume may bring what is at a path.
func isMounted(c map[string]any, p string) bool {
	mounts, _ := c["volumeMounts"].([]any)
	return slices.ContainsFunc(mounts, func(m any) bool {
		mount, _ := m.(map[string]any)
		at, _ := mount["mountPath"].(string)
		at = path.Clean("/" + at)
		return at == "/" || p == at || strings.HasPrefix(p, at+"/")
	})
}

func textsOf(list any) []string {
	items, _ := list.([]any)
	var texts []string
	for _, item := range items {
		text, _ := item.(string)
		texts = append(texts, text)
	}
	return texts
}
