package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/watch"
)

func newWatch(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print what changes in the project, as kdev up sees it",
		Long: `Watch prints each batch of changes: what differs in the project's files from the
batch before. It needs no cluster, and outside of a project it watches the
current folder. Notices go to stderr.

With --output json each batch is one line:
{"generation":7,"time":"…","changes":[{"path":"src/a.txt","op":"create|write|remove|chmod"}]}`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, output, "text", "json"); err != nil {
				return err
			}
			return runWatch(cmd.Context(), env, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.AddCommand(newWatchExplain(env))
	return cmd
}

func newWatchExplain(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "explain PATH...",
		Short: "Say whether paths are watched, and which rule, file and line decides",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(cmd, cmd.CommandPath()+" takes a path")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(cmd, output, "text", "json"); err != nil {
				return err
			}
			o, err := watchOptions(env)
			if err != nil {
				return err
			}
			for _, arg := range args {
				if err := runWatchExplain(env, o, arg, output); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// watchOptions are those of kdev up; outside of a project they are those of a
// plain folder.
func watchOptions(env Env) (watch.Options, error) {
	root, err := config.Find(env.Dir)
	if err != nil {
		if p := problem.As(err); p != nil && p.Code == "config-missing" {
			return watch.Options{Root: env.Dir}, nil
		}
		return watch.Options{}, err
	}
	p, err := config.Load(root, config.LoadOptions{Version: version, ManifestsOptional: true})
	if err != nil {
		return watch.Options{}, err
	}
	o := watch.Options{Root: p.Root, Ignore: p.Watch.Ignore}
	name := func(abs string) {
		if rel, err := filepath.Rel(p.Root, abs); err == nil && filepath.IsLocal(rel) && rel != "." {
			o.Include = append(o.Include, filepath.ToSlash(rel))
		}
	}
	for _, m := range p.Manifests { // a .dockerignore commonly leaves them out
		if rel, err := filepath.Rel(p.Root, absIn(p.Root, m.Kustomize)); m.Kustomize != "" && err == nil {
			top, _, _ := strings.Cut(filepath.ToSlash(rel), "/") // an overlay stands beside its base
			name(filepath.Join(p.Root, top))
		}
		for _, y := range m.YAML {
			if strings.Contains(y, "://") {
				continue // nothing of it changes here
			}
			name(absIn(p.Root, y))
		}
	}
	for _, svc := range p.Services {
		if svc.Build == nil {
			continue
		}
		o.Contexts = append(o.Contexts, watch.Context{Dir: svc.Build.Context, Dockerfile: svc.Build.Dockerfile})
		plan, err := dockerfile.Load(dockerfile.Options{Context: svc.Build.Context, Dockerfile: svc.Build.Dockerfile, Target: svc.Build.Target, Args: svc.Build.Args})
		if err != nil {
			continue // kdev up says what is wrong with it; files can be watched all the same
		}
		for _, src := range plan.Sources() {
			name(filepath.Join(svc.Build.Context, filepath.FromSlash(src)))
		}
		for _, file := range svc.Triggers() {
			name(filepath.Join(svc.Build.Context, filepath.FromSlash(file)))
		}
	}
	return o, nil
}

func absIn(root, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(root, p)
}

func runWatch(ctx context.Context, env Env, output string) error {
	o, err := watchOptions(env)
	if err != nil {
		return err
	}
	w, err := watch.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	err = printBatches(env, w, o.Root, output)
	interrupted := ctx.Err()
	cancel()
	if runErr := <-ended; err == nil {
		err = runErr
	}
	if err == nil {
		err = interrupted
	}
	return err
}

// printBatches returns when the watcher has ended, or the output cannot be
// written: `kdev watch | head` is to end too.
func printBatches(env Env, w *watch.Watcher, root, output string) error {
	armed, batches, notices := w.Armed(), w.Batches(), w.Notices()
	for batches != nil {
		select {
		case <-armed:
			fmt.Fprintf(env.Err, "watching %s\n", root)
			armed = nil
		case n, ok := <-notices:
			if !ok {
				notices = nil
				continue
			}
			fmt.Fprintf(env.Err, "%s (%s)\n", n.Text, n.Code)
		case b, ok := <-batches:
			if !ok {
				batches = nil
				continue
			}
			if err := printBatch(env.Out, b, output); err != nil {
				return err
			}
		}
	}
	return nil
}

// shownChanges is how many lines of a batch are printed as text.
const shownChanges = 20

func printBatch(out io.Writer, b watch.Batch, output string) error {
	if output == "json" {
		return writeJSON(out, b)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s #%d %d changed\n", b.Time.Format("15:04:05.000"), b.Generation, len(b.Changes))
	for i, c := range b.Changes {
		if i == shownChanges {
			fmt.Fprintf(&text, "  … and %d more (--output json has them all)\n", len(b.Changes)-i)
			break
		}
		fmt.Fprintf(&text, "  %-6s %s\n", c.Op, printable(c.Path))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// printable quotes a name that would disturb the terminal.
func printable(p string) string {
	quoted := fmt.Sprintf("%+q", p)
	if quoted == `"`+p+`"` {
		return p
	}
	if plain := fmt.Sprintf("%q", p); plain == `"`+p+`"` {
		return p // letters of other scripts
	}
	return quoted
}

func runWatchExplain(env Env, o watch.Options, arg, output string) error {
	abs := absIn(env.Dir, arg)
	rel, err := filepath.Rel(o.Root, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return &problem.Problem{
			Class:   problem.Usage,
			Code:    "watch-outside",
			Summary: fmt.Sprintf("%s is not in the project", arg),
			Where:   o.Root,
			Hint:    "give a path below this folder",
		}
	}
	info, statErr := os.Lstat(abs)
	isDir := statErr == nil && info.IsDir() || strings.HasSuffix(arg, string(filepath.Separator))
	v, err := watch.Explain(o, filepath.ToSlash(rel), isDir)
	if err != nil {
		return err
	}
	if v.By == "kdev.yaml" {
		v.File, v.Line = placeOf(o.Root, v.Rule)
	}
	if output == "json" {
		return writeJSON(env.Out, v)
	}
	_, err = fmt.Fprintln(env.Out, explained(v, o.Root))
	return err
}

// placeOf finds a rule of watch.ignore in the configuration; a rule is known there
// only by its place in the list. That of a person is laid over the project's.
func placeOf(root, rule string) (file string, line int) {
	for _, name := range []string{config.LocalName, config.FileName} {
		file = filepath.Join(root, name)
		if line = lineOf(file, rule); line > 0 {
			return file, line
		}
	}
	return file, 0
}

// lineOf finds rule among the items of watch.ignore, of which each may hold
// several lines.
func lineOf(file, rule string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return 0
	}
	list := field(field(doc.Content[0], "watch"), "ignore")
	if list == nil {
		return 0
	}
	line := 0
	for _, item := range list.Content {
		item = behindAlias(item)
		at := item.Line
		if item.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			at++ // the text begins below its | or >
		}
		for i, l := range strings.Split(item.Value, "\n") {
			if strings.TrimRight(l, " ") == strings.TrimRight(rule, " ") {
				line = at + i // of equal rules the last decides
			}
		}
	}
	return line
}

// field returns the value of a key, or nil.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil {
		return nil
	}
	n = behindAlias(n)
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return behindAlias(n.Content[i+1])
		}
	}
	return nil
}

func behindAlias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// explained is the verdict as one line.
func explained(v watch.Verdict, root string) string {
	where := v.File
	if rel, err := filepath.Rel(root, v.File); v.File != "" && err == nil && filepath.IsLocal(rel) {
		where = rel
	}
	if v.Line > 0 {
		where = fmt.Sprintf("%s:%d", where, v.Line)
	}
	state := "is watched"
	if !v.Watched {
		state = "is not watched"
	}
	text := fmt.Sprintf("%s %s: ", printable(v.Path), state)
	switch {
	case v.By == "default":
		return text + "no rule leaves it out"
	case v.By == "link":
		return text + fmt.Sprintf("%s is a symbolic link, and links are not followed", printable(v.Rule))
	case v.By == "built-in":
		return text + fmt.Sprintf("kdev never looks at %q", v.Rule)
	case v.OnWay:
		return text + fmt.Sprintf("%s ignores it with %q, but something below it is wanted", where, v.Rule)
	case v.By == "named":
		return text + fmt.Sprintf("%s ignores it with %q, but a COPY or a manifest names it", where, v.Rule)
	case v.Watched:
		return text + fmt.Sprintf("%s brings it back with %q", where, v.Rule)
	}
	return text + fmt.Sprintf("%s ignores it with %q", where, v.Rule)
}
