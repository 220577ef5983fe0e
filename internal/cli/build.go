package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/tree"
)

// buildOptions are the flags of `kdev build`.
type buildOptions struct {
	env       Env
	push      string
	tag       string
	out       string
	output    string
	platforms []string
	sbom      string
	log       bool

	silent []string     // hosts of registries that are down: see registry.Ensure
	kube   *kube.Client // of the command that builds for a cluster; nil: none yet
}

func newBuild(env Env) *cobra.Command {
	o := &buildOptions{env: env}
	cmd := &cobra.Command{
		Use:   "build [SERVICE…]",
		Short: "Make the production images of the project, without a cluster",
		Long: `Build makes the image of each service (or of those that are named) as kdev up
does, but the production image: without kdev's agent. Equal sources give equal
digests. With --push the images go to a registry elsewhere, as the user who is
logged in there (docker login); with --out a file says what was made, for
"kdev deploy --images".`,
		ValidArgsFunction: o.complete,
		RunE: func(cmd *cobra.Command, services []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			if err := o.check(cmd); err != nil {
				return err
			}
			if o.log {
				return o.printLogs(services)
			}
			return o.run(cmd.Context(), services)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.push, "push", "", "push to REGISTRY/FOLDER, for example ghcr.io/acme: the service's name is added")
	f.StringVar(&o.tag, "tag", "", "with --push: the tag, with {{.Project}}, {{.Service}}, {{.Digest}}, {{.Branch}}, {{.Commit}}, which ends in -dirty where tracked files differ from it (default: the digest's head)")
	f.StringVar(&o.out, "out", "", "write a file that says what was made (images.json)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringSliceVar(&o.platforms, "platform", nil, "platforms, for example linux/amd64,linux/arm64 (default: this machine's)")
	f.StringVar(&o.sbom, "sbom", "", "spdx: write beside --out (or here) what software each image holds; with --push, attach it to the image too")
	f.BoolVar(&o.log, "log", false, "build nothing: print all that the newest build of each service printed, by whichever command")
	for _, other := range []string{"push", "tag", "out", "platform", "output", "sbom"} {
		cmd.MarkFlagsMutuallyExclusive("log", other)
	}
	return cmd
}

// imagesDocument is what --out and --output json write.
type imagesDocument struct {
	APIVersion string      `json:"apiVersion"`
	Project    string      `json:"project"`
	Images     []madeImage `json:"images"` // by service
}

// A madeImage is the image of one service.
type madeImage struct {
	Service    string   `json:"service"`
	Repository string   `json:"repository"` // as manifests name it; without a name of its own, the service's
	Ref        string   `json:"ref"`        // by digest: what a pod spec is to hold
	Digest     string   `json:"digest"`
	Platforms  []string `json:"platforms"`
	Cached     bool     `json:"cached"`         // nothing was built
	SBOM       []string `json:"sbom,omitempty"` // files, one for each platform
}

func (o *buildOptions) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	p, err := (&projectFlags{}).load(o.env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, s := range p.Services {
		if s.Build != nil {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (o *buildOptions) run(ctx context.Context, names []string) error {
	p, err := (&projectFlags{}).loadWith(o.env, config.LoadOptions{Version: version, Alone: true, ManifestsOptional: true})
	if err != nil {
		return err
	}
	services, err := chooseServices(p, names)
	if err != nil {
		return err
	}
	if len(o.platforms) == 0 {
		o.platforms = []string{""}
	}
	tags, err := o.tagger(ctx, p)
	if err != nil {
		return err
	}
	width := len("kdev")
	for _, s := range services {
		width = max(width, len(s.Name))
	}
	m, done, err := o.open(ctx, p, &plain{out: o.env.Err, width: width})
	if err != nil {
		return err
	}
	defer done()
	m.tags = tags
	made, err := m.all(ctx, services)
	if err != nil {
		return err
	}
	return o.report(imagesDocument{APIVersion: apiVersion, Project: p.Name, Images: made})
}

// open makes a maker and what ends it.
func (o *buildOptions) open(ctx context.Context, p *config.Project, face notifier) (*maker, func(), error) {
	store, err := openStore()
	if err != nil {
		return nil, nil, err
	}
	m := &maker{o: o, p: p, store: store, face: face}
	store.OnDrop(repaired(m.tell))
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return nil, nil, fmt.Errorf("finding the container engine: %w", err)
	}
	// Without an engine, what needs none is built all the same.
	endpoint, err := registry.Ensure(ctx, docker, store, nil, o.silent...)
	if missing := problem.As(err); missing != nil && missing.Code == "engine-missing" {
		endpoint, err = registry.Known(store), nil
	}
	if err != nil {
		docker.Close()
		return nil, nil, err
	}
	index, err := tree.Open(p.Root)
	if err != nil {
		docker.Close()
		return nil, nil, err
	}
	hide := &secrets{}
	hide.ofManifests(ctx, p)
	m.docker, m.endpoint = docker, endpoint
	progress := func(text string) {
		m.tell(session.Notice{Level: session.Info, Code: "progress", Text: text})
	}
	kubeOf, closeKube := opened(o.kube), func() {}
	if o.kube == nil {
		kubeOf, closeKube = foundCluster(p, progress)
	}
	runs, closeRuns, err := withBuildKit(o.env, p, kubeOf, progress)
	if err != nil {
		index.Close()
		docker.Close()
		return nil, nil, err
	}
	m.builder = keepOutput(o.env, p, hidingBuilder{build.New(docker, store, endpoint, index, runs...), hide})
	return m, func() { closeRuns(); closeKube(); index.Close(); docker.Close() }, nil
}

// chooseServices are the services with a build: all, or the named ones.
func chooseServices(p *config.Project, names []string) ([]config.Service, error) {
	var out []config.Service
	for _, name := range names {
		s, ok := p.Service(name)
		if !ok || s.Build == nil {
			var known []string
			for _, s := range p.Services {
				if s.Build != nil {
					known = append(known, s.Name)
				}
			}
			return nil, &problem.Problem{Class: problem.Usage, Code: "usage", Summary: "there is no service " + name + " with a build", Hint: "services with one: " + strings.Join(known, ", ")}
		}
		if !slices.ContainsFunc(out, func(o config.Service) bool { return o.Name == s.Name }) {
			out = append(out, *s)
		}
	}
	if len(names) > 0 {
		return out, nil
	}
	for _, s := range p.Services {
		if s.Build != nil {
			out = append(out, s)
		}
	}
	return out, nil
}

// A maker makes, and pushes, the images of one project.
type maker struct {
	o        *buildOptions
	p        *config.Project
	store    *registry.Store
	docker   *client.Client
	endpoint *registry.Endpoint
	builder  build.Builder
	tags     func(service, digest string) (string, error)
	dev      bool // dev images, for what kdev up would apply

	mu   sync.Mutex
	face notifier
}

// A notifier shows notices: a face, or a part of one.
type notifier interface{ notice(session.Notice) }

// repaired tells of what the store drops because it is damaged.
func repaired(tell func(session.Notice)) func(dropped string) {
	return func(dropped string) {
		tell(session.Notice{Level: session.Warn, Code: "store-repaired", Text: "the image store was damaged; dropped: " + dropped})
	}
}

func (m *maker) tell(n session.Notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.face.notice(n)
}

// all makes the images side by side; a failure of one does not hold up others.
func (m *maker) all(ctx context.Context, services []config.Service) ([]madeImage, error) {
	made := make([]madeImage, len(services))
	failed := make([]error, len(services))
	var work sync.WaitGroup
	for i, s := range services {
		work.Go(func() {
			start := time.Now()
			made[i], failed[i] = m.one(ctx, s)
			if failed[i] == nil || ctx.Err() != nil {
				return
			}
			p := problem.As(failed[i])
			if p == nil {
				p = &problem.Problem{Code: "build-failed", Summary: failed[i].Error()}
			}
			m.tell(session.Notice{Level: session.Fail, Service: s.Name, Text: "build failed", Took: session.Millis(time.Since(start)), Problem: p})
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var names []string
	class := problem.Failed
	for i, err := range failed {
		if err == nil {
			continue
		}
		names = append(names, services[i].Name)
		if p := problem.As(err); p != nil && p.Class == problem.Usage {
			class = problem.Usage
		}
	}
	if names != nil {
		return nil, &problem.Problem{Class: class, Code: "build-failed", Summary: fmt.Sprintf("%d of %d images could not be made: %s", len(names), len(services), strings.Join(names, ", "))}
	}
	return made, nil
}

func (m *maker) one(ctx context.Context, s config.Service) (madeImage, error) {
	out := madeImage{Service: s.Name, Repository: s.Image, Cached: true}
	if out.Repository == "" {
		out.Repository = s.Name
	}
	var results []*build.Result
	spec := session.SpecOf(m.p, s)
	spec.Dev = m.dev
	for _, platform := range m.o.platforms {
		spec.Platform = platform
		r, err := m.builder.Build(ctx, spec, m.progress)
		if err != nil {
			return out, err
		}
		results = append(results, r)
		out.Cached = out.Cached && r.Cached
		out.Platforms = append(out.Platforms, spec.PlatformName())
		text := "built"
		if r.Cached {
			text = "image found in the store"
		}
		if len(m.o.platforms) > 1 {
			text += " for " + platform
		}
		m.tell(session.Notice{Level: session.Done, Service: s.Name, Text: text + " (" + r.Why + ")", Took: session.Millis(r.Took)})
	}
	out.Digest, out.Ref = results[0].Digest, results[0].Ref
	if len(results) > 1 {
		var err error
		if out.Digest, err = build.Index(m.store, spec.Repository(), m.o.platforms, results); err != nil {
			return out, err
		}
		out.Ref = m.endpoint.Ref(spec.Repository(), registry.Short(out.Digest), out.Digest)
	}
	if m.o.push != "" {
		if err := m.push(ctx, spec, &out); err != nil {
			return out, err
		}
	}
	if m.o.sbom == "" {
		return out, nil
	}
	return out, m.describe(ctx, spec, results, &out)
}

func (m *maker) push(ctx context.Context, spec build.Spec, out *madeImage) error {
	start := time.Now()
	tag, err := m.tags(out.Service, out.Digest)
	if err != nil {
		return err
	}
	repo := m.o.repository(out.Service)
	recipe, err := build.Load(spec)
	if err != nil {
		return err
	}
	if !m.endpoint.Shared {
		// The engine's layers may be in the registry only.
		if err := m.endpoint.Pull(ctx, m.store, spec.Repository(), out.Digest); err != nil {
			return err
		}
	}
	if err := m.store.Push(ctx, out.Digest, repo+":"+tag, recipe.Bases(), false); err != nil {
		return err
	}
	out.Ref = repo + ":" + tag + "@" + out.Digest
	m.tell(session.Notice{Level: session.Done, Service: out.Service, Text: "pushed " + repo + ":" + tag, Took: session.Millis(time.Since(start))})
	return nil
}

// repository is where --push sends the image of a service.
func (o *buildOptions) repository(service string) string {
	return strings.TrimSuffix(o.push, "/") + "/" + service
}

// file is a file that a flag names.
func (o *buildOptions) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.env.Dir, name)
}

func (m *maker) progress(e build.Event) {
	switch {
	case e.Warning != "":
		m.tell(session.Notice{Level: session.Warn, Service: e.Service, Text: e.Warning})
	case e.Line != "":
		m.tell(session.Notice{Level: session.Info, Service: e.Service, Code: "build-output", Text: e.Line})
	}
}

func (o *buildOptions) report(doc imagesDocument) error {
	if o.out != "" {
		var b bytes.Buffer
		if err := writeJSON(&b, doc); err != nil {
			return err
		}
		if err := os.WriteFile(o.file(o.out), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write --out: %w", err)
		}
	}
	if o.output == "json" {
		return writeJSON(o.env.Out, doc)
	}
	var failed []error
	for _, im := range doc.Images {
		_, err := fmt.Fprintln(o.env.Out, im.Ref)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
