package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/store"
)

// secrets keep a mask equal to the values of a project's Secrets: those that its
// manifests hold, and those that are in its namespaces. A value that was there once
// stays hidden: a pod that started with it may still print it.
type secrets struct {
	mask logs.Mask

	mu     sync.Mutex
	values []string
}

// ofManifests hides what the project's files hold, without a cluster. Manifests that
// do not render hide nothing here: whoever deploys them says why.
func (s *secrets) ofManifests(ctx context.Context, p *config.Project) {
	s.ofBuilds(p)
	from := slices.DeleteFunc(deploy.Sources(p.Manifests, p.Namespace, nil), func(m deploy.Source) bool {
		return m.Command != nil // runs for whoever deploys, not for whoever reads logs
	})
	m, _ := deploy.Render(ctx, p.Root, from)
	s.hide(deploy.Hidden(m.Objects))
	for _, o := range m.Objects {
		if o.GetKind() != "Secret" {
			continue
		}
		secret := &corev1.Secret{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, secret) == nil {
			s.add(secret)
		}
	}
}

// ofCluster hides what is in the namespaces, and what comes there until ctx is done;
// wait waits for that. Who may not read Secrets gets an error, and the logs all the
// same.
func (s *secrets) ofCluster(ctx context.Context, client *kube.Client, namespaces []string) (wait func(), err error) {
	wait, err = kube.WatchSecrets(ctx, client.Core, namespaces, s.add)
	if err != nil {
		return func() {}, fmt.Errorf("values of Secrets are masked as far as the manifests hold them: %w", err)
	}
	return wait, nil
}

// ofBuilds hides what builds of the project are given.
func (s *secrets) ofBuilds(p *config.Project) {
	for _, cs := range p.Services {
		if cs.Build != nil {
			s.given(session.SpecOf(p, cs))
		}
	}
}

// given hides what a build is given, and those of the images that it may begin with, as
// it is now. What cannot be read is told by the build that wants it.
func (s *secrets) given(spec build.Spec) {
	var values []string
	read := func(all map[string]engine.Secret) {
		for id, secret := range all {
			if v, err := secret.Read(id); err == nil {
				values = append(values, string(v))
			}
		}
	}
	read(spec.Options.Secrets)
	for _, other := range spec.Siblings {
		read(other.Spec.Options.Secrets)
	}
	s.hide(values)
}

// hideSecrets takes the values of a project's Secrets, those of some manifests and those
// in a namespace, out of what d says of containers. What it began, stop ends. Who may not read
// Secrets is told nothing: what looks like one is hidden all the same.
func hideSecrets(ctx context.Context, p *config.Project, manifests []config.Source, client *kube.Client, namespace string, d *deploy.Deployer) (stop func()) {
	s := &secrets{}
	at := *p
	at.Manifests, at.Namespace = manifests, namespace
	s.ofManifests(ctx, &at)
	ctx, cancel := context.WithCancel(ctx)
	wait, _ := s.ofCluster(ctx, client, []string{namespace})
	d.Hide(s.mask.String)
	return func() { cancel(); wait() }
}

func (s *secrets) add(secret *corev1.Secret) {
	s.hide(secretValues(secret))
}

func (s *secrets) hide(values []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.values)
	for _, v := range values {
		if !slices.Contains(s.values, v) {
			s.values = append(s.values, v)
		}
	}
	if len(s.values) > before {
		s.mask.Set(s.values)
	}
}

// secretValues are the parts of a Secret that nobody else should see.
func secretValues(secret *corev1.Secret) []string {
	var values []string
	if secret.Type == "helm.sh/release.v1" {
		return nil // the whole release, compressed
	}
	for key, v := range secret.Data {
		switch {
		case secret.Type == corev1.SecretTypeServiceAccountToken && key != corev1.ServiceAccountTokenKey:
			continue // the namespace, and the certificate that every client has
		case secret.Type == corev1.SecretTypeTLS && key == corev1.TLSCertKey:
			continue // shown to everybody who connects
		case key == corev1.DockerConfigJsonKey:
			values = append(values, logins(v)...)
		}
		values = append(values, string(v))
	}
	for _, v := range secret.StringData {
		values = append(values, v)
	}
	return values
}

// logins are the passwords in a docker configuration.
func logins(docker []byte) []string {
	var file struct {
		Auths map[string]struct{ Password, Auth, IdentityToken string }
	}
	if json.Unmarshal(docker, &file) != nil {
		return nil
	}
	var out []string
	for _, a := range file.Auths {
		out = append(out, a.Password, a.Auth, a.IdentityToken)
		if b, err := base64.StdEncoding.DecodeString(a.Auth); err == nil {
			out = append(out, string(b))
		}
	}
	return out
}

// notice hides the values in what is told of a session: the output of a build holds
// what the build was given.
func (s *secrets) notice(n session.Notice) session.Notice {
	n.Text = s.mask.String(n.Text)
	if n.Step != nil {
		n.Step = &session.Step{Name: s.mask.String(n.Step.Name), Cached: n.Step.Cached, Bytes: n.Step.Bytes}
	}
	if n.Problem != nil {
		n.Problem = s.problem(n.Problem)
	}
	return n
}

func (s *secrets) problem(p *problem.Problem) *problem.Problem { return p.Hide(s.mask.String) }

// failure hides the values in what a command ends with.
func (s *secrets) failure(err error) error {
	if err == nil {
		return nil
	}
	if p := problem.As(err); p != nil {
		return s.problem(p)
	}
	return problem.Reworded(err, s.mask.String(err.Error()))
}

// masked is a face that is told nothing of what is hidden.
type masked struct {
	face
	hide *secrets
}

func (m masked) notice(n session.Notice) { m.face.notice(m.hide.notice(n)) }

// lines are those of the face, which other commands read; nil where it has none.
func (m masked) lines() *store.Store {
	if f, ok := m.face.(interface{ lines() *store.Store }); ok {
		return f.lines()
	}
	return nil
}

// hidingBuilder is a builder of which neither output nor failures show what is hidden.
type hidingBuilder struct {
	build.Builder
	hide *secrets
}

// Build reads the secrets anew, as the engine does: before the build, and before the
// lines of each step, since the engine reads them when all that the image begins with
// is made.
func (b hidingBuilder) Build(ctx context.Context, spec build.Spec, progress build.Progress) (*build.Result, error) {
	b.hide.given(spec)
	tell := progress
	if progress != nil {
		step := ""
		tell = func(e build.Event) {
			if e.Step != step {
				step = e.Step
				b.hide.given(spec)
			}
			e.Step, e.Line, e.Warning = b.hide.mask.String(e.Step), b.hide.mask.String(e.Line), b.hide.mask.String(e.Warning)
			progress(e)
		}
	}
	result, err := b.Builder.Build(ctx, spec, tell)
	return result, b.hide.failure(err)
}

// A runHub runs a hub until ctx is done.
type runHub func(ctx context.Context, env Env, p *config.Project, hub *logs.Hub, hide *secrets) error

// runOnly runs a hub whose lines another process keeps.
func runOnly(ctx context.Context, _ Env, _ *config.Project, hub *logs.Hub, _ *secrets) error {
	return hub.Run(ctx)
}

// runAndKeep runs a hub, and keeps its lines on disk for `kdev logs --past`. That they
// cannot be kept is told among them.
func runAndKeep(ctx context.Context, env Env, p *config.Project, hub *logs.Hub, hide *secrets) error {
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() {
		if err := keepLines(keeping, env, p, hub.Store(), hide); err != nil {
			hub.Source("").WriteLine(err.Error())
		}
	})
	err := hub.Run(ctx)
	stop()
	work.Wait()
	return err
}
