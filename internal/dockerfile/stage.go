package dockerfile

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
)

// Where a step reads from, when it is no stage.
const (
	fromContext = -1
	fromImage   = -2
)

// A stage is one FROM with the lines below it that place or use files.
type stage struct {
	name  string
	line  int
	base  int    // stage, or negative
	image string // pulled image, when base is negative
	steps []step

	// What the lines leave behind for a stage that is FROM this one.
	env     map[string]string
	workdir string          // empty: the pulled image's, unknown
	unknown bool            // the pulled image's configuration is not known
	dirs    map[string]bool // known to be directories
	onbuild []string
}

// A step is a *copyStep or a *runStep.
type step any

type copyStep struct {
	line     int
	verb     string // COPY or ADD
	from     int
	image    string
	sources  []source
	dest     string // absolute, clean
	destDir  bool   // ends with a slash, or known to be a directory
	scratch  bool   // nothing is there but what the Dockerfile puts there
	unclear  string // why dest cannot be known
	parents  bool
	unpack   bool
	excludes *patternmatcher.PatternMatcher
	mode     string   // --chmod
	owner    string   // --chown
	writes   []string // heredocs: container paths
}

type runStep struct {
	line    int
	text    string
	mounts  []mount
	reads   string   // the first command that may read anything; empty: harmless
	touches []string // container paths that it removes or writes
}

// A mount is a RUN --mount=type=bind.
type mount struct {
	from   int
	image  string
	source source
}

// understand follows the lines of every stage, as the builder would.
func (p *Plan) understand(stages []instructions.Stage, meta []instructions.ArgCommand, escape rune) error {
	lex := shell.NewLex(escape)
	global := platformArgs(p.opts.Platform, p.opts.Target)
	for _, cmd := range meta {
		err := cmd.Expand(func(word string) (string, error) {
			res, err := lex.ProcessWordWithMatches(word, environment{global})
			return res.Result, err
		})
		if err != nil {
			return p.syntax(parser.WithLocation(err, cmd.Location()))
		}
		for _, a := range cmd.Args {
			if v, ok := p.opts.Args[a.Key]; ok {
				global[a.Key] = v
			} else if a.Value != nil {
				global[a.Key] = *a.Value
			}
		}
	}
	for i := range stages {
		s, err := p.newStage(&stages[i], i, lex, global)
		if err != nil {
			return p.syntax(parser.WithLocation(err, stages[i].Location))
		}
		r := reader{p: p, s: s, index: i, lex: lex, global: global, args: map[string]*string{}}
		for _, text := range s.onbuild {
			cmds, err := parseInstruction(text)
			if err != nil {
				return p.syntax(parser.WithLocation(err, stages[i].Location))
			}
			r.at = s.line // of the FROM that brings it
			if err := r.follow(cmds); err != nil {
				return p.syntax(parser.WithLocation(err, stages[i].Location))
			}
		}
		s.onbuild = nil
		for _, cmd := range stages[i].Commands {
			if err := r.line(cmd); err != nil {
				return p.syntax(parser.WithLocation(err, cmd.Location()))
			}
		}
		p.stages = append(p.stages, s)
	}
	return nil
}

func (p *Plan) newStage(in *instructions.Stage, index int, lex *shell.Lex, global map[string]string) (*stage, error) {
	res, err := lex.ProcessWordWithMatches(in.BaseName, environment{global})
	if err != nil {
		return nil, err
	}
	if res.Result == "" {
		return nil, fmt.Errorf("base name (%s) should not be blank", in.BaseName)
	}
	s := &stage{name: in.Name, base: p.stageNamed(res.Result, index), dirs: map[string]bool{"/": true}}
	if len(in.Location) > 0 {
		s.line = in.Location[0].Start.Line
	}
	if s.base >= 0 {
		b := p.stages[s.base]
		s.env, s.workdir, s.unknown, s.dirs = maps.Clone(b.env), b.workdir, b.unknown, maps.Clone(b.dirs)
		s.onbuild = b.onbuild
		return s, nil
	}
	s.image, s.env = res.Result, map[string]string{}
	if s.image == "scratch" {
		s.workdir = "/"
		return s, nil
	}
	for _, dir := range standardDirs {
		s.dirs[dir] = true
	}
	base, ok := Base{}, false
	if p.opts.Base != nil {
		base, ok = p.opts.Base(s.image)
	}
	s.onbuild = slices.Clone(base.OnBuild)
	if !ok {
		s.unknown = true
		return s, nil
	}
	maps.Copy(s.env, base.Env)
	s.workdir = "/"
	if base.Workdir != "" {
		s.workdir = path.Clean(base.Workdir)
	}
	s.addDir(s.workdir)
	return s, nil
}

func (s *stage) addDir(dir string) {
	for ; !s.dirs[dir]; dir = path.Dir(dir) {
		s.dirs[dir] = true
	}
}

// A reader follows the lines of one stage.
type reader struct {
	p      *Plan
	s      *stage
	index  int
	lex    *shell.Lex
	global map[string]string
	args   map[string]*string // declared in this stage; nil: without a value
	at     int
}

func (r *reader) line(cmd instructions.Command) error {
	if loc := cmd.Location(); len(loc) > 0 {
		r.at = loc[0].Start.Line
	}
	return r.follow(cmd)
}

// follow does what an instruction at r.at says.
func (r *reader) follow(cmd instructions.Command) error {
	switch c := cmd.(type) {
	case *instructions.ArgCommand:
		if err := c.Expand(r.expander(nil)); err != nil {
			return err
		}
		for _, a := range c.Args {
			r.args[a.Key] = a.Value
			if v, ok := r.p.opts.Args[a.Key]; ok {
				r.args[a.Key] = &v
			} else if v, ok := r.global[a.Key]; ok && a.Value == nil {
				r.args[a.Key] = &v
			}
		}
	case *instructions.EnvCommand:
		var unclear string
		if err := c.Expand(r.expander(&unclear)); err != nil {
			return err
		}
		for _, kv := range c.Env {
			r.s.env[kv.Key] = kv.Value
		}
	case *instructions.WorkdirCommand:
		return r.workdir(c)
	case *instructions.CopyCommand:
		return r.copy(c)
	case *instructions.AddCommand:
		return r.add(c)
	case *instructions.RunCommand:
		return r.run(c)
	case *instructions.OnbuildCommand:
		r.s.onbuild = append(r.s.onbuild, c.Expression)
	}
	return nil
}

func (r *reader) workdir(c *instructions.WorkdirCommand) error {
	var unclear string
	if err := c.Expand(r.expander(&unclear)); err != nil {
		return err
	}
	switch {
	case unclear != "":
		r.s.workdir = ""
	case path.IsAbs(c.Path):
		r.s.workdir = path.Clean(c.Path)
	case r.s.workdir != "":
		r.s.workdir = path.Join(r.s.workdir, c.Path)
	}
	if r.s.workdir != "" {
		r.s.addDir(r.s.workdir)
	}
	return nil
}

func (r *reader) copy(c *instructions.CopyCommand) error {
	st := &copyStep{line: r.at, verb: "COPY", from: fromContext, parents: c.Parents}
	if c.From != "" {
		st.from, st.image = r.origin(c.From)
	}
	if err := c.Expand(r.expander(&st.unclear)); err != nil {
		return err
	}
	st.mode, st.owner = c.Chmod, c.Chown
	return r.place(st, c.SourcesAndDest, c.ExcludePatterns)
}

func (r *reader) add(c *instructions.AddCommand) error {
	st := &copyStep{line: r.at, verb: "ADD", from: fromContext, unpack: c.Unpack == nil || *c.Unpack}
	if err := c.Expand(r.expander(&st.unclear)); err != nil {
		return err
	}
	st.mode, st.owner = c.Chmod, c.Chown
	sd := c.SourcesAndDest
	sd.SourcePaths = slices.DeleteFunc(slices.Clone(sd.SourcePaths), isRemote)
	return r.place(st, sd, c.ExcludePatterns)
}

// place finishes a COPY or ADD step.
func (r *reader) place(st *copyStep, sd instructions.SourcesAndDest, excludes []string) error {
	if len(excludes) > 0 {
		m, err := patternmatcher.New(excludes)
		if err != nil {
			return err
		}
		st.excludes = m
	}
	for _, s := range sd.SourcePaths {
		src := newSource(s, st.parents)
		if st.from == fromContext {
			src = src.follow(r.p.opts.Context)
		}
		st.sources = append(st.sources, src)
	}
	r.destination(st, sd)
	for _, doc := range sd.SourceContents {
		to := st.dest
		if st.destDir {
			to = path.Join(to, doc.Path)
		}
		st.writes = append(st.writes, to)
	}
	r.s.steps = append(r.s.steps, st)
	return nil
}

// destination finds where the step writes, and whether that is a directory.
func (r *reader) destination(st *copyStep, sd instructions.SourcesAndDest) {
	dest := sd.DestPath
	if !path.IsAbs(dest) {
		if r.s.workdir == "" && st.unclear == "" {
			st.unclear = "the working directory comes from the image " + r.root().image + ": add a WORKDIR line before it"
		}
	}
	slash := dest == "" || dest == "." || strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, "/.") ||
		st.parents || len(sd.SourcePaths)+len(sd.SourceContents) > 1
	if path.IsAbs(dest) {
		st.dest = path.Clean(dest)
	} else {
		st.dest = path.Join("/", r.s.workdir, dest)
	}
	st.destDir = slash || r.s.dirs[st.dest]
	st.scratch = r.root().image == "scratch"
	if st.unclear != "" {
		return
	}
	if slash || r.bringsDirectory(st) {
		r.s.addDir(st.dest)
	} else {
		r.s.addDir(path.Dir(st.dest))
	}
}

// bringsDirectory says whether a source is known to be a directory, which makes
// the destination one.
func (r *reader) bringsDirectory(st *copyStep) bool {
	for _, src := range st.sources {
		switch {
		case src.glob():
		case st.from == fromContext:
			if src.path() == "." || isDir(r.p.opts.Context, src.path()) {
				return true
			}
		case st.from >= 0:
			if r.p.stages[st.from].dirs["/"+src.path()] {
				return true
			}
		}
	}
	return false
}

// root is the stage at the start of the chain of FROMs.
func (r *reader) root() *stage {
	s := r.s
	for s.base >= 0 {
		s = r.p.stages[s.base]
	}
	return s
}

// origin resolves --from: a stage before this one by name or number, else an image.
func (r *reader) origin(name string) (int, string) {
	if i := r.p.stageNamed(name, r.index); i >= 0 {
		return i, ""
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < r.index {
		return n, ""
	}
	return fromImage, name
}

func (r *reader) run(c *instructions.RunCommand) error {
	if err := c.Expand(r.expander(nil)); err != nil {
		return err
	}
	st := &runStep{line: r.at}
	for _, m := range instructions.GetMounts(c) {
		if m.Type != instructions.MountTypeBind {
			continue
		}
		mt := mount{from: fromContext, source: newSource(m.Source, false)}
		if m.From != "" {
			mt.from, mt.image = r.origin(m.From)
		} else {
			mt.source = mt.source.follow(r.p.opts.Context)
		}
		st.mounts = append(st.mounts, mt)
	}
	script := runScript(c)
	st.text = abridge(script)
	h := judge(script, c.PrependShell, r.s.workdir)
	st.reads, st.touches = h.reads, h.touches
	if st.reads == "" {
		for _, dir := range h.makes {
			r.s.addDir(dir)
		}
	}
	r.s.steps = append(r.s.steps, st)
	return nil
}

// expander substitutes variables. A variable that only the pulled image can
// have set is noted in unclear: its value would be a guess.
func (r *reader) expander(unclear *string) instructions.SingleWordExpander {
	vars := map[string]string{}
	for k, v := range r.args {
		if v != nil {
			vars[k] = *v
		}
	}
	maps.Copy(vars, r.s.env) // ENV wins over ARG
	return func(word string) (string, error) {
		res, err := r.lex.ProcessWordWithMatches(word, environment{vars})
		if unclear != nil && r.s.unknown {
			for name := range res.Unmatched {
				if _, declared := r.args[name]; !declared {
					*unclear = "$" + name + " may come from the image " + r.root().image + ": set it with ENV or ARG in the Dockerfile"
				}
			}
		}
		return res.Result, err
	}
}

// An environment is variables in the form that BuildKit's lexer wants.
type environment struct{ vars map[string]string }

func (e environment) Get(key string) (string, bool) { v, ok := e.vars[key]; return v, ok }
func (e environment) Keys() []string                { return slices.Sorted(maps.Keys(e.vars)) }

// platformArgs are the arguments that BuildKit defines before the first FROM.
func platformArgs(platform, target string) map[string]string {
	build := "linux/" + runtime.GOARCH
	if platform == "" {
		platform = build
	}
	os, arch, _ := strings.Cut(platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	if target == "" {
		target = "default"
	}
	return map[string]string{
		"BUILDPLATFORM": build, "BUILDOS": "linux", "BUILDOSVERSION": "", "BUILDARCH": runtime.GOARCH, "BUILDVARIANT": "",
		"TARGETPLATFORM": platform, "TARGETOS": os, "TARGETOSVERSION": "", "TARGETARCH": arch, "TARGETVARIANT": variant, "TARGETSTAGE": target,
	}
}

// parseInstruction reads the text of an ONBUILD trigger.
func parseInstruction(text string) (instructions.Command, error) {
	ast, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return instructions.ParseCommand(ast.AST.Children[0])
}

// modeBits turns --chmod=755 into permission bits; symbolic modes are relative
// to what the file has and give false.
func modeBits(chmod string) (fs.FileMode, bool) {
	if chmod == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(chmod, 8, 12)
	if err != nil {
		return 0, false
	}
	mode := fs.FileMode(n & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= flag
		}
	}
	return mode, true
}

// standardDirs are directories in every image that is not made from scratch, or
// in the images that have given them their name. They matter for
// `COPY file /dir` without a slash at the end.
var standardDirs = strings.Fields(`/bin /boot /dev /etc /home /lib /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /var
	/usr/bin /usr/lib /usr/libexec /usr/sbin /usr/share /usr/src /usr/local /usr/local/bin /usr/local/etc /usr/local/include /usr/local/lib
	/usr/local/sbin /usr/local/share /usr/local/src /var/cache /var/lib /var/log /var/run /var/spool /var/tmp /var/www /var/www/html
	/etc/nginx /etc/nginx/conf.d /etc/nginx/templates /usr/share/nginx /usr/share/nginx/html /usr/local/apache2 /usr/local/apache2/htdocs
	/docker-entrypoint.d /docker-entrypoint-initdb.d /etc/cron.d /etc/profile.d /etc/ssl /etc/ssl/certs /usr/local/share/ca-certificates`)
