package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/pods"
	"github.com/kdev-io/kdev/logs/source"
)

// A logsPlan is what the flags come to, before anything is asked of a cluster.
type logsPlan struct {
	o         *logsOptions
	choice    pods.Choice
	where     pods.Where // without the namespaces
	states    []pods.State
	condition *pods.Condition
	from      source.Options
	hub       logs.Options
	notices   *notices
	hidden    secrets
	around    bool            // there is a project around here, whose values are masked
	project   *config.Project // of the cluster that is read; nil outside of one
	remote    *control.Remote // the session around, where its lines may be meant; nil without
	reached   bool            // what --until waits for
	toldNone  bool            // that no lines are kept
}

// plan checks the flags, in stern's order.
func (o *logsOptions) plan() (*logsPlan, error) {
	p := &logsPlan{o: o}
	for _, step := range []func() error{p.combinations, p.choose, p.conditions, p.selectors, p.range_, p.lines, p.look} {
		if err := step(); err != nil {
			return nil, badLogs(err)
		}
	}
	return p, nil
}

func (p *logsPlan) combinations() error {
	o := p.o
	for _, arg := range o.query {
		if o.selector != "" && strings.Contains(arg, "/") {
			return errors.New("--selector and the <resource>/<name> query cannot be set at the same time")
		}
	}
	o.tail = max(o.tail, -1)
	switch {
	case o.noFollow && o.tail == 0:
		return errors.New("--no-follow cannot be used with --tail=0")
	case o.past && len(o.notOfPast()) > 0:
		return fmt.Errorf("--past cannot be used with %s: what is kept on disk does not tell", strings.Join(o.notOfPast(), ", "))
	case o.environment != "" && len(o.notOfEnvironment()) > 0:
		return fmt.Errorf("--env cannot be used with %s: the environment says where it is", strings.Join(o.notOfEnvironment(), ", "))
	case o.events && p.once():
		return errors.New("--events cannot be used with --no-follow or --previous")
	case untilStates[o.until] != nil && (p.once() || o.stdin):
		return fmt.Errorf("--until %s cannot be used with --no-follow, --previous or --stdin", o.until)
	case o.before < 0 || o.after < 0 || o.around < 0:
		return errors.New("--before, --after and --around take a number of lines")
	}
	return nil
}

// notOfEnvironment are the flags given that say which cluster is meant.
func (o *logsOptions) notOfEnvironment() []string {
	var out []string
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"--context", len(unique(o.contexts)) > 0}, {"--kubeconfig", o.kubeconfig != ""}, {"--server", o.kube.server != ""}, {"--cluster", o.kube.cluster != ""},
		{"--past", o.past}, {"--stdin", o.stdin},
	} {
		if f.given {
			out = append(out, f.name)
		}
	}
	return out
}

// notOfPast are the flags given that ask what lines on disk cannot answer: they know the
// namespace, the node, the labels and the controller of their pod, and no cluster is asked.
func (o *logsOptions) notOfPast() []string {
	var out []string
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"--stdin", o.stdin}, {"--previous", o.previous}, {"--prompt", o.prompt}, {"--until", o.until != ""}, {"--events", o.events},
		{"--context", len(unique(o.contexts)) > 0}, {"--kubeconfig", o.kubeconfig != ""}, {"--field-selector", o.fieldSelector != ""},
		{"--condition", o.condition != ""}, {"--container-state", !slices.Equal(unique(o.containerStates), []string{"all"})},
		{"--init-containers=false", !o.initContainers}, {"--ephemeral-containers=false", !o.ephemeral},
	} {
		if f.given {
			out = append(out, f.name)
		}
	}
	return out
}

func (p *logsPlan) choose() error {
	o := p.o
	for _, arg := range o.query {
		q, err := pods.Parse(arg)
		if err != nil {
			return err
		}
		if o.past && q.Kind.Kind == "Service" {
			return fmt.Errorf("--past cannot be used with %s: what is kept on disk does not tell which pods a service has", arg)
		}
		p.choice.Queries = append(p.choice.Queries, q)
	}
	var err error
	if p.choice.ExcludePods, err = compileAll("excluded pod query", o.excludePod); err != nil {
		return err
	}
	if o.container != "" && o.container != ".*" {
		if p.choice.Container, err = regexp.Compile(o.container); err != nil {
			return fmt.Errorf("failed to compile regular expression for container query: %w", err)
		}
	}
	if p.choice.ExcludeContainers, err = compileAll("excluded container query", o.excludeContain); err != nil {
		return err
	}
	p.choice.NoInit, p.choice.NoEphemeral = !o.initContainers, !o.ephemeral
	return nil
}

func (p *logsPlan) conditions() error {
	if p.o.condition != "" {
		c, err := pods.ParseCondition(p.o.condition)
		if err != nil {
			return err
		}
		p.condition = &c
	}
	for _, s := range unique(p.o.containerStates) {
		state, err := pods.ParseState(s)
		if err != nil {
			return err
		}
		p.states = append(p.states, state)
	}
	return nil
}

func (p *logsPlan) selectors() error {
	if _, err := labels.Parse(p.o.selector); err != nil {
		return fmt.Errorf("failed to parse selector as label selector: %w", err)
	}
	p.where.Labels = p.o.selector
	var queries []string
	if p.o.fieldSelector != "" {
		queries = append(queries, p.o.fieldSelector)
	}
	if p.o.node != "" {
		queries = append(queries, "spec.nodeName="+p.o.node)
	}
	p.where.Fields = strings.Join(queries, ",")
	if _, err := fields.ParseSelector(p.where.Fields); err != nil {
		return fmt.Errorf("failed to parse selector as field selector: %w", err)
	}
	return nil
}

// range_ says from where containers are read that exist at the start.
func (p *logsPlan) range_() error {
	o := p.o
	p.from = source.Options{Previous: o.previous, Since: o.since.at}
	if o.since.ago > 0 {
		// The API takes whole seconds; a part of one counts as one.
		p.from.SinceSeconds = int64((o.since.ago + time.Second - 1) / time.Second)
	}
	if o.tail >= 0 {
		p.from.Tail = &o.tail
	}
	switch {
	case o.maxLogRequests > 0:
		p.hub.MaxStreams = o.maxLogRequests
	case o.maxLogRequests == -1 && p.once():
		p.hub.MaxStreams = 5
	case o.maxLogRequests == -1:
		p.hub.MaxStreams = 200
	default:
		return errors.New("--max-log-requests should be 1 or more")
	}
	return nil
}

func (p *logsPlan) once() bool { return p.o.noFollow || p.o.previous }

func (p *logsPlan) lines() error {
	var err error
	if p.hub.Filter.Exclude, err = filter.CompileAll("exclusion filter", p.o.exclude); err != nil {
		return err
	}
	if p.hub.Filter.Include, err = filter.CompileAll("inclusion filter", p.o.include); err != nil {
		return err
	}
	o, f := p.o, &p.hub.Filter
	if o.level != "" {
		if f.Level, err = level.Parse(o.level); err != nil {
			return err
		}
	}
	f.Records = o.records
	f.Before, f.After = max(o.before, o.around), max(o.after, o.around)
	if o.template == "" && o.templateFile == "" && (o.output == "jsonl" || o.output == "logfmt") {
		f.Levels, p.hub.Join = true, true
	}
	if strings.Contains(o.template, ".Level") || o.templateFile != "" {
		f.Levels = true
	}
	p.hub.Merge = o.merge
	if o.until != "" && untilStates[o.until] == nil {
		if p.hub.Until, err = filter.Compile(o.until); err != nil {
			return fmt.Errorf("failed to compile regular expression for --until: %w", err)
		}
	}
	return nil
}

func (p *logsPlan) look() error {
	o := p.o
	highlight, err := filter.CompileAll("highlight filter", o.highlight)
	if err != nil {
		return err
	}
	mode, err := term.ParseColorMode(o.color)
	if err != nil {
		return err
	}
	out, errs := o.facts(mode)
	f := &p.hub.Format
	f.Output, f.Template, f.Timestamps = o.output, o.template, o.timestamps
	f.Color, f.Safe = out.Color, out.TTY || out.Color // colours that were asked for end on a terminal too
	if f.Palette, err = o.colors(); err != nil {
		return err
	}
	if out.Color {
		f.Highlight = filter.Highlighter(append(slices.Clone(p.hub.Filter.Include), highlight...))
	}
	if o.templateFile != "" {
		text, err := os.ReadFile(o.path(o.templateFile))
		if err != nil {
			return err
		}
		f.Template = string(text)
	}
	if f.Location, err = time.LoadLocation(o.timezone); err != nil {
		return err
	}
	f.Namespace = o.allNamespaces || len(unique(o.namespaces)) > 1
	f.Cluster = len(unique(o.contexts)) > 1
	p.hub.DiffContainer = o.diffContainer
	p.hub.StoreBytes = 4 << 20
	p.notices = &notices{out: o.env.Err, quiet: o.onlyLogLines, color: errs.Color, namespace: f.Namespace, palette: f.Palette}
	p.hub.Notice = p.notices.tell
	p.hub.Lost = p.notices.dropped
	f.Failed = p.notices.failed
	_, err = format.New(*f) // now, so that a bad template is told before a cluster is asked
	return err
}

func (o *logsOptions) colors() (format.Palette, error) {
	if len(o.podColors) > 0 || len(o.containerColors) > 0 {
		return format.CustomPalette(o.podColors, o.containerColors)
	}
	return format.PaletteByName(o.palette)
}

func compileAll(what string, exprs []string) ([]*regexp.Regexp, error) {
	var out []*regexp.Regexp
	for _, e := range exprs {
		re, err := regexp.Compile(e)
		if err != nil {
			return nil, fmt.Errorf("failed to compile regular expression for %s: %w", what, err)
		}
		out = append(out, re)
	}
	return out, nil
}

// unique drops repeated and empty items and keeps the order.
func unique(items []string) []string {
	var out []string
	for _, s := range items {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
