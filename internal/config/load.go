package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/checkout"
	"github.com/kdev-io/kdev/internal/problem"
)

// LoadOptions says what Load reads besides the root's files.
type LoadOptions struct {
	Env     map[string]string // nil: the process's environment
	File    string            // the configuration; empty: kdev.yaml in the root, which may be missing
	Version string            // kdev's own, for requires; empty or "dev" satisfies everything
	// ManifestsOptional is for what deploys nothing: watching, building. Without
	// it a project that has nothing to deploy is the problem config-no-manifests.
	ManifestsOptional bool
	// ManifestsLate is for what needs no manifests, or only those of one environment: files
	// of them that are not there are no problem, but stand in [Source.Missing].
	ManifestsLate bool
	// Alone leaves out the projects that this one includes, which may not be there: a
	// pipeline that builds one project has checked out that one.
	Alone bool
	// Fetch finds the folder of an included project that is a commit of another
	// repository. Without it such an include is the problem config-include.
	Fetch func(checkout.Address) (string, error)
}

// Load reads the configuration of the project at root. An error is Problems.
func Load(root string, o LoadOptions) (*Project, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	l := &loader{root: root, options: o}
	p := l.load()
	if len(l.problems) > 0 {
		return nil, ordered(l.problems)
	}
	return p, nil
}

type loader struct {
	root     string
	within   []string // roots of the projects that include this one, the outermost first
	options  LoadOptions
	problems Problems
}

func (l *loader) load() *Project {
	main := l.options.File
	if main == "" {
		main = filepath.Join(l.root, FileName)
	} else if !filepath.IsAbs(main) {
		main = filepath.Join(l.root, main)
	}
	p := &Project{
		Root:  l.root,
		Files: []string{main, filepath.Join(l.root, LocalName), filepath.Join(l.root, envName)},
	}

	vars := &variables{env: l.options.Env, root: l.root}
	if vars.env == nil {
		vars.env = environ()
	}
	if text, _ := l.read(p.Files[2]); text != nil {
		m, ps := parseDotenv(envName, string(text))
		vars.dotenv = m
		l.problems = append(l.problems, ps...)
	}

	d := &decoder{file: l.name(main), origin: map[*yaml.Node]string{}, vars: vars, at: map[string]position{}}
	top, found := l.parse(main)
	if found {
		p.File = main
	} else if l.options.File != "" {
		l.problems = append(l.problems, usage("config-missing", position{file: l.name(main)}, "check the path", "no such file"))
	}
	listed := top != nil && hasKey(top, "services")
	if local, ok := l.parse(p.Files[1]); ok && local != nil {
		top = overlay(top, local, LocalName, d.origin)
	}
	if len(l.problems) > 0 {
		return nil // what cannot be read leads to no further problem
	}

	var f file
	if top != nil {
		d.value(top, "", "", reflect.ValueOf(&f).Elem())
	}
	l.problems = append(l.problems, d.problems...)
	r := &resolver{loader: l, d: d, f: &f, p: p, listed: listed}
	r.resolve()
	return p
}

// parse is false where there is no such file.
func (l *loader) parse(file string) (*yaml.Node, bool) {
	content, ok := l.read(file)
	if !ok {
		return nil, false
	}
	top, ps := parse(l.name(file), content)
	l.problems = append(l.problems, ps...)
	return top, true
}

func (l *loader) read(file string) ([]byte, bool) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		p := usage("config-read", position{file: l.name(file)}, "make it a file that you may read", "cannot be read")
		p.Err = err
		l.problems = append(l.problems, p)
		return nil, false
	}
	return content, true
}

// name is how a file is called in messages.
func (l *loader) name(file string) string {
	rel, err := filepath.Rel(l.root, file)
	if err != nil || strings.HasPrefix(rel, "..") {
		return file
	}
	return filepath.ToSlash(rel)
}

func hasKey(n *yaml.Node, key string) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		v := n.Content[i+1]
		if n.Content[i].Value == key && !(v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null") {
			return true
		}
	}
	return false
}

func environ() map[string]string {
	m := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return m
}

// ordered sorts problems by file and line, and drops repetitions: one alias
// that is used twice is one mistake.
func ordered(ps Problems) Problems {
	key := func(p *problem.Problem) (string, int) {
		file, line := p.Where, 0
		if i := strings.LastIndexByte(p.Where, ':'); i >= 0 {
			if n, ok := digits(p.Where[i+1:]); ok {
				file, line = p.Where[:i], n
			}
		}
		return file, line
	}
	slices.SortStableFunc(ps, func(a, b *problem.Problem) int {
		af, al := key(a)
		bf, bl := key(b)
		return cmp.Or(cmp.Compare(af, bf), cmp.Compare(al, bl))
	})
	return slices.CompactFunc(ps, func(a, b *problem.Problem) bool {
		return a.Where == b.Where && a.Summary == b.Summary
	})
}

func digits(s string) (int, bool) {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || n > 1<<30 {
			return 0, false
		}
		n = n*10 + int(r-'0')
	}
	return n, s != ""
}
