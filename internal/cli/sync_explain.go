package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/watch"
)

func newSyncExplain(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "explain PATH",
		Short: "Say what saving a file will do, and which line decides",
		Long: `Explain says what "kdev up" does when a file is saved: copy it into the running
containers, compile the program and replace it there, build the image again, apply the manifests, or nothing; for each
service that the file belongs to, with the line of the Dockerfile or of kdev.yaml
that decides. It needs no cluster.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(cmd, fmt.Sprintf("%s takes one path, got %d", cmd.CommandPath(), len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(cmd, output, "text", "json"); err != nil {
				return err
			}
			return runSyncExplain(cmd.Context(), env, args[0], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// An explanation is what saving one file does.
type explanation struct {
	APIVersion string       `json:"apiVersion"`
	Path       string       `json:"path"` // relative to the project
	Watched    bool         `json:"watched"`
	Actions    []saveAction `json:"actions"` // none: nothing happens
}

// A saveAction is one thing that a save does.
type saveAction struct {
	Action  string   `json:"action"` // "sync", "compile", "rebuild", "redeploy", "reload", "trigger" or "nothing"
	Service string   `json:"service,omitempty"`
	Dests   []string `json:"dests,omitempty"` // of sync: paths in the container
	File    string   `json:"file,omitempty"`  // that decides
	Line    int      `json:"line,omitempty"`
	Why     string   `json:"why"`
	Then    []string `json:"then,omitempty"` // "run npm ci (kdev.yaml:9)", "restart (kdev.yaml:10)"
}

func runSyncExplain(ctx context.Context, env Env, arg, output string) error {
	root, err := config.Find(env.Dir)
	if err != nil {
		return err
	}
	p, err := config.Load(root, config.LoadOptions{Version: version, ManifestsOptional: true})
	if err != nil {
		return err
	}
	abs := absIn(env.Dir, arg)
	rel, err := filepath.Rel(p.Root, abs)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return &problem.Problem{
			Class: problem.Usage, Code: "sync-outside", Where: p.Root,
			Summary: fmt.Sprintf("%s is no file of the project", arg), Hint: "give the path of a file below this folder",
		}
	}
	e, err := explainPath(ctx, env, p, filepath.ToSlash(rel))
	if err != nil {
		return err
	}
	if output == "json" {
		return writeJSON(env.Out, e)
	}
	_, err = fmt.Fprint(env.Out, e.text())
	return err
}

func explainPath(ctx context.Context, env Env, p *config.Project, rel string) (*explanation, error) {
	e := &explanation{APIVersion: apiVersion, Path: rel, Actions: []saveAction{}}
	o, err := watchOptions(env)
	if err != nil {
		return nil, err
	}
	v, err := watch.Explain(o, rel, false)
	if err != nil {
		return nil, err
	}
	if e.Watched = v.Watched; !v.Watched {
		if v.By == "kdev.yaml" {
			v.File, v.Line = placeOf(o.Root, v.Rule)
		}
		e.Actions = append(e.Actions, saveAction{Action: "nothing", File: relativeTo(p.Root, v.File), Line: v.Line, Why: explained(v, o.Root)})
		return e, nil
	}
	if session.Config(p, rel) {
		e.Actions = append(e.Actions, saveAction{Action: "reload", Why: "it is part of the configuration, which the next `kdev up` reads"})
		return e, nil
	}
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	meanings, err := session.Explain(p, store, rel)
	if err != nil {
		return nil, err
	}
	owned := false
	for _, m := range meanings {
		a := saveAction{Action: m.Verdict.Action.String(), Service: m.Service, Dests: m.Verdict.Dests, File: m.Verdict.File, Line: m.Verdict.Line, Why: m.Verdict.Why}
		for _, t := range m.Then {
			a.Then = append(a.Then, thenWords(t))
		}
		switch {
		case m.Compile:
			a.Action = "compile"
		case m.Verdict.Action == dockerfile.Nothing && len(m.Then) > 0:
			a.Action = "trigger"
		}
		owned = owned || m.Verdict.Action != dockerfile.Nothing
		e.Actions = append(e.Actions, a)
	}
	if owned {
		return e, nil
	}
	// Manifests that do not render now still say which files they are made from.
	if reads, _ := session.Manifests(ctx, p, rel); reads {
		e.Actions = append(e.Actions, saveAction{Action: "redeploy", Why: "the manifests are made from it"})
	}
	if len(e.Actions) == 0 {
		e.Actions = append(e.Actions, saveAction{Action: "nothing", Why: "it is in no build context, and no manifest is made from it"})
	}
	return e, nil
}

// relativeTo is a file as people of the project know it.
func relativeTo(root, file string) string {
	if rel, err := filepath.Rel(root, file); file != "" && err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return file
}

func thenWords(t session.Then) string {
	var do []string
	if len(t.Run) > 0 {
		do = append(do, "run "+shellWords(t.Run))
	}
	switch {
	case t.Whole:
		do = append(do, "restart the container")
	case t.Restart:
		do = append(do, "restart the process")
	}
	if t.Signal != "" {
		do = append(do, "send it SIG"+t.Signal)
	}
	return strings.Join(do, ", then ") + " (" + t.Where + ")"
}

// shellWords is a command as it stands in kdev.yaml.
func shellWords(argv []string) string {
	if len(argv) == 3 && argv[0] == "sh" && argv[1] == "-c" {
		return argv[2]
	}
	return strings.Join(argv, " ")
}

// text is a line for each action, and one for each rule that follows it.
//
//	webui: sync to /app/server.js (webui/Dockerfile:7: COPY puts it at /app/server.js)
//	  then restart the process (kdev.yaml:8)
func (e *explanation) text() string {
	var b strings.Builder
	for _, a := range e.Actions {
		if a.Service != "" {
			b.WriteString(a.Service + ": ")
		}
		b.WriteString(a.Action)
		if len(a.Dests) > 0 {
			b.WriteString(" to " + strings.Join(a.Dests, ", "))
		}
		where := ""
		if a.File != "" {
			where = a.File + ": "
		}
		if a.Line > 0 {
			where = fmt.Sprintf("%s:%d: ", a.File, a.Line)
		}
		fmt.Fprintf(&b, " (%s%s)\n", where, a.Why)
		for _, t := range a.Then {
			b.WriteString("  then " + t + "\n")
		}
	}
	return b.String()
}
