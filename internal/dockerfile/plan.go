package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// Options say which Dockerfile is read, and how it would be built.
type Options struct {
	Context    string            // absolute
	Dockerfile string            // absolute; may lie outside Context
	Target     string            // stage name or number; empty: the last one
	Args       map[string]string // build arguments
	Platform   string            // linux/amd64; empty: this machine's architecture

	// Base tells what a pulled image has configured. Without it (or with
	// false) a destination that depends on that means Rebuild; the triggers
	// that it tells count in any case.
	Base func(image string) (Base, bool)
}

// A Base is the part of a pulled image's configuration that later lines use.
type Base struct {
	Workdir string
	Env     map[string]string
	OnBuild []string // instructions that a FROM of it begins with
}

// A Plan is a Dockerfile that was understood. It does not change and is safe
// for concurrent use.
type Plan struct {
	opts   Options
	file   string // the Dockerfile as people know it: "webui/Dockerfile"
	text   []byte
	ignore *ignore.DockerMatcher
	stages []*stage
	target int
	used   []bool // by stage: the target needs it
}

// Load reads and understands a Dockerfile. Its errors are problems that name
// file and line.
func Load(opts Options) (*Plan, error) {
	p := &Plan{opts: opts, file: displayName(opts.Context, opts.Dockerfile)}
	data, err := os.ReadFile(opts.Dockerfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &problem.Problem{
			Class: problem.Usage, Code: "dockerfile-missing", Summary: "there is no Dockerfile", Where: p.file,
			Hint: "write it, or name another one with build.dockerfile in kdev.yaml",
		}
	}
	if err != nil {
		return nil, &problem.Problem{Class: problem.Usage, Code: "dockerfile-missing", Summary: "the Dockerfile cannot be read", Where: p.file, Err: err}
	}
	if p.ignore, err = ignore.Docker(opts.Context, opts.Dockerfile); err != nil {
		return nil, err
	}
	if err := p.read(data); err != nil {
		return nil, err
	}
	return p, nil
}

// read understands the text of the Dockerfile.
func (p *Plan) read(text []byte) error {
	ast, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return p.syntax(err)
	}
	stages, args, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		return p.syntax(err)
	}
	if err := p.understand(stages, args, ast.EscapeToken); err != nil {
		return err
	}
	if p.target, err = p.findTarget(); err != nil {
		return err
	}
	p.text, p.used = text, make([]bool, len(p.stages))
	p.reach(p.target)
	return nil
}

// Ignore is the matcher of what the build does not see.
func (p *Plan) Ignore() *ignore.DockerMatcher { return p.ignore }

// Sources lists the paths and patterns of the context that the target's COPY,
// ADD and RUN --mount lines name, relative to the context; "." is all of it.
func (p *Plan) Sources() []string {
	var all []string
	for i, s := range p.stages {
		if !p.used[i] {
			continue
		}
		for _, st := range s.steps {
			switch st := st.(type) {
			case *copyStep:
				if st.from == fromContext {
					for _, src := range st.sources {
						all = append(all, src.display())
					}
				}
			case *runStep:
				for _, m := range st.mounts {
					if m.from == fromContext {
						all = append(all, m.source.display())
					}
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// OnBuild are the instructions that a FROM of the target's image begins with.
func (p *Plan) OnBuild() []string {
	if p.target < 0 || p.target >= len(p.stages) {
		return nil
	}
	return slices.Clone(p.stages[p.target].onbuild)
}

// Bases lists the images that a build of the target pulls.
func (p *Plan) Bases() []string {
	var all []string
	p.bases(func(image string, _ int) { all = append(all, image) })
	slices.Sort(all)
	return slices.Compact(all)
}

// NamedAt is the first place at which the target names an image to pull.
func (p *Plan) NamedAt(image string) string {
	first := 0
	p.bases(func(named string, line int) {
		if named == image && (first == 0 || line < first) {
			first = line
		}
	})
	return p.at(first)
}

func (p *Plan) bases(tell func(image string, line int)) {
	for i, s := range p.stages {
		if p.used[i] {
			s.bases(tell)
		}
	}
}

// bases tells which images a stage pulls, and where it names them.
func (s *stage) bases(tell func(image string, line int)) {
	add := func(image string, line int) {
		if image != "" && image != "scratch" {
			tell(image, line)
		}
	}
	add(s.image, s.line)
	for _, st := range s.steps {
		switch st := st.(type) {
		case *copyStep:
			add(st.image, st.line)
		case *runStep:
			for _, m := range st.mounts {
				add(m.image, st.line)
			}
		}
	}
}

// reach marks the stages that stage i is made from.
func (p *Plan) reach(i int) {
	if i < 0 || p.used[i] {
		return
	}
	p.used[i] = true
	s := p.stages[i]
	p.reach(s.base)
	for _, st := range s.steps {
		switch st := st.(type) {
		case *copyStep:
			p.reach(st.from)
		case *runStep:
			for _, m := range st.mounts {
				p.reach(m.from)
			}
		}
	}
}

func (p *Plan) findTarget() (int, error) {
	want := p.opts.Target
	if want == "" {
		return len(p.stages) - 1, nil
	}
	if i := p.stageNamed(want, len(p.stages)); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(want); err == nil && n >= 0 && n < len(p.stages) {
		return n, nil
	}
	var names []string
	for _, s := range p.stages {
		if s.name != "" {
			names = append(names, s.name)
		}
	}
	hint := "give a stage a name with FROM … AS " + want
	if len(names) > 0 {
		hint = "the stages are: " + strings.Join(names, ", ")
	}
	return 0, &problem.Problem{Class: problem.Usage, Code: "dockerfile-target", Summary: fmt.Sprintf("there is no stage %q", want), Where: p.file, Hint: hint}
}

// stageNamed finds the last stage of that name before stage number before.
func (p *Plan) stageNamed(name string, before int) int {
	for i := min(before, len(p.stages)) - 1; i >= 0; i-- {
		if p.stages[i].name != "" && strings.EqualFold(p.stages[i].name, name) {
			return i
		}
	}
	return -1
}

// syntax gives BuildKit's errors the form of a problem.
func (p *Plan) syntax(err error) error {
	where := p.file
	var at *parser.LocationError
	// An empty file has line 0.
	if errors.As(err, &at) && len(at.Locations) > 0 && len(at.Locations[0]) > 0 && at.Locations[0][0].Start.Line > 0 {
		where = p.at(at.Locations[0][0].Start.Line)
	}
	return &problem.Problem{
		Class: problem.Usage, Code: "dockerfile-syntax", Summary: "the Dockerfile cannot be used", Where: where, Err: plain{err},
		Hint: "see https://docs.docker.com/reference/dockerfile/",
	}
}

// at is a place in the Dockerfile as people write it.
func (p *Plan) at(line int) string { return p.file + ":" + strconv.Itoa(line) }

// plain is an error without the place that BuildKit puts before its text.
type plain struct{ error }

func (e plain) Error() string {
	text := e.error.Error()
	if rest, ok := strings.CutPrefix(text, "dockerfile parse error on line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			return after
		}
	}
	return text
}

func (e plain) Unwrap() error { return e.error }

// displayName is "webui/Dockerfile" for the Dockerfile of a context webui: short,
// and enough to know which one of a project is meant.
func displayName(context, file string) string {
	rel, err := filepath.Rel(filepath.Dir(context), file)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return file
	}
	return filepath.ToSlash(rel)
}
