package cli

import (
	"errors"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// An aim is where a command was told to look. A hint that names another command names that
// place too: followed as it stands, it must not reach dev when staging was meant.
type aim struct {
	env       string // of -e; not dev, which is where a command without flags looks
	namespace string // of -n
	context   string // of --context

	home, at string // of the environment: its namespace and its context, for commands that have no -e
}

// aim is that of the flags.
func (f *projectFlags) aim() aim { return aim{namespace: f.namespace, context: f.context} }

// aimAt is that of the flags, for an environment.
func (f *environmentFlags) aimAt(e config.Environment) aim {
	a := f.aim()
	if f.env != "" && f.env != config.Dev {
		a.env, a.home, a.at = f.env, e.Namespace, e.Context
	}
	return a
}

// aimOf is that of a command's flags, where it has them.
func aimOf(cmd *cobra.Command) (a aim) {
	for name, value := range map[string]*string{"env": &a.env, "namespace": &a.namespace, "context": &a.context} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.Type() == "string" {
			*value = f.Value.String()
		}
	}
	if a.env == config.Dev {
		a.env = ""
	}
	return a
}

var (
	namedCommand = regexp.MustCompile("`kdev ([a-z]+)( [^`]*)?`")
	namesPlace   = regexp.MustCompile(` (-e|-n|--env|--namespace|--context)\b`)

	// Commands that have -e, and those that have only -n and --context.
	byEnvironment = []string{"deploy", "diff", "down", "render", "rollback", "status"}
	byNamespace   = []string{"events", "exec", "forward", "logs", "open", "run", "stop", "trigger", "up"}
)

// text gives the commands in a text the flags of the aim.
func (a aim) text(text string) string {
	return namedCommand.ReplaceAllStringFunc(text, func(command string) string {
		m := namedCommand.FindStringSubmatch(command)
		if namesPlace.MatchString(m[2]) {
			return command
		}
		return "`kdev " + m[1] + a.flags(m[1]) + m[2] + "`"
	})
}

func (a aim) flags(verb string) string {
	namespace, context, flags := a.namespace, a.context, ""
	switch {
	case slices.Contains(byEnvironment, verb):
		if a.env != "" {
			flags = " -e " + a.env
		}
	case slices.Contains(byNamespace, verb):
		if namespace == "" {
			namespace = a.home
		}
		if context == "" {
			context = a.at
		}
	default:
		return ""
	}
	if namespace != "" {
		flags += " -n " + namespace
	}
	if context != "" {
		flags += " --context " + context
	}
	return flags
}

// problem is p with its hint aimed.
func (a aim) problem(p *problem.Problem) *problem.Problem {
	if p == nil || a.text(p.Hint) == p.Hint {
		return p
	}
	said := *p
	said.Hint = a.text(p.Hint)
	return &said
}

// err aims the hints of all problems that an error is made of.
func (a aim) err(err error) error {
	list := each(err)
	if err == nil || a == (aim{}) {
		return err
	}
	aimed := make([]error, len(list))
	changed := false
	for i, one := range list {
		aimed[i] = one
		if p := problem.As(one); p != nil {
			if said := a.problem(p); said != p {
				aimed[i], changed = said, true
			}
		}
	}
	var own withCode
	switch {
	case !changed:
		return err
	case errors.As(err, &own):
		return withCode{single(errors.Join(aimed...)), own.code}
	}
	return single(errors.Join(aimed...))
}
