package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/past"
	"github.com/kdev-io/kdev/logs/store"
)

// secretProject is a project whose manifests hold one Secret.
func secretProject(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"kdev.yaml": "name: shop\nmanifests: {yaml: [secret.yaml]}\n",
		"secret.yaml": `apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: from-the-manifest}
data: {token: ZnJvbS1iYXNlNjQ=}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const tellsAll = "manifest from-the-manifest, base64 from-base64, cluster from-the-cluster, later from-later-on"

func TestLogsHidesSecrets(t *testing.T) {
	dir := secretProject(t)
	c := newFakeCluster(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "made"}, Data: map[string][]byte{"x": []byte("from-the-cluster")}}
	if err := c.Put(secret); err != nil {
		t.Fatal(err)
	}
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", tellsAll)
	kubeconfig, err := c.Kubeconfig(t.TempDir(), "fake", "default")
	if err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	r := startLogsWith(t, dir, ".", "--kubeconfig", kubeconfig, "-o", "raw", "--save", saved)
	r.out.await(t, `manifest \*\*\*, base64 \*\*\*, cluster \*\*\*, later from-later-on\n`)

	// A Secret that comes while logs are followed is hidden from then on. When that is,
	// the watch decides, so that the line is written until it is.
	if err := c.Put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "late"}, Data: map[string][]byte{"x": []byte("from-later-on")}}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for i := 0; ; i++ {
		c.say("web-1", "web", fmt.Sprintf("%d from-later-on", i))
		r.out.await(t, fmt.Sprintf(`(?m)^%d (from-later-on|\*\*\*)$`, i))
		text, _ := r.out.get()
		if strings.HasSuffix(text, "***\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never hidden:\n%s", text)
		}
	}
	r.interrupt()
	b, err := os.ReadFile(saved)
	if err != nil || !strings.HasPrefix(string(b), "manifest ***, base64 ***, cluster ***") {
		t.Errorf("saved %q %v", b, err)
	}

	if o := startLogsWith(t, dir, ".", "--kubeconfig", kubeconfig, "-o", "raw", "--no-mask", "--tail=1", "--until", "later").wait(); strings.Contains(o.stdout, "***") {
		t.Errorf("--no-mask: %s", o.stdout)
	}
	c.Deny("list", "secrets")
	c.Deny("watch", "secrets")
	c.say("web-1", "web", tellsAll)
	r = startLogsWith(t, dir, ".", "--kubeconfig", kubeconfig, "-o", "raw", "--tail=1")
	r.out.await(t, `manifest \*\*\*, base64 \*\*\*, cluster from-the-cluster`)
	r.err.await(t, "masked as far as the manifests hold them")
	r.interrupt()

	elsewhere := startLogsWith(t, t.TempDir(), ".", "--kubeconfig", kubeconfig, "-o", "raw", "--tail=1")
	elsewhere.out.await(t, "manifest from-the-manifest")
	elsewhere.interrupt()
}

func TestStdinAndPastHideSecrets(t *testing.T) {
	dir := secretProject(t)
	var out, errs bytes.Buffer
	env := Env{In: strings.NewReader(tellsAll + "\n"), Out: &out, Err: &errs, Dir: dir, Getenv: func(k string) string { return map[string]string{"HOME": dir}[k] }}
	if code := Main(t.Context(), env, []string{"logs", "--stdin", "-o", "raw"}); code != 0 || !strings.HasPrefix(out.String(), "manifest ***, base64 ***, cluster from") {
		t.Errorf("--stdin: %d\n%s\n%s", code, out.String(), errs.String())
	}

	// Lines that were kept before the value was known.
	project, err := (&projectFlags{}).load(env)
	if err != nil {
		t.Fatal(err)
	}
	keepText(t, env, project, &secrets{}, tellsAll)
	out.Reset()
	if code := Main(t.Context(), env, []string{"logs", "--past", "-o", "raw"}); code != 0 || !strings.HasPrefix(out.String(), "manifest ***, base64 ***, cluster from") {
		t.Errorf("--past: %d\n%s\n%s", code, out.String(), errs.String())
	}
	// And what is kept is masked, whatever is shown.
	hide := &secrets{}
	hide.ofManifests(t.Context(), project)
	keepText(t, env, project, hide, tellsAll+" again")
	folder, err := pastDir(env, project)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	if err := past.Read(folder, func(_ *store.Source, _ store.Line, msg []byte) error {
		kept = append(kept, string(msg))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 2 || !strings.HasPrefix(kept[1], "manifest ***, base64 ***") {
		t.Errorf("kept %q", kept)
	}
}

// keepText puts one line of kdev's own on disk.
func keepText(t *testing.T, env Env, p *config.Project, hide *secrets, text string) {
	t.Helper()
	hub, err := logs.New(logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hub.Source("build/web").WriteLine(text)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what the store holds is kept all the same
	if err := keepLines(ctx, env, p, hub.Store(), hide); err != nil {
		t.Fatal(err)
	}
}

// failing is a builder that prints what it was given and fails with it.
type failing struct{}

func (failing) Build(_ context.Context, _ build.Spec, progress build.Progress) (*build.Result, error) {
	progress(build.Event{Service: "web", Step: "RUN login from-the-manifest", Line: "logging in with from-the-manifest", Warning: "from-the-manifest is weak"})
	return nil, fmt.Errorf("web: %w", &problem.Problem{Code: "build-failed", Summary: "RUN login from-the-manifest failed", Output: "from-the-manifest refused", Err: errors.New("exit 1 of from-the-manifest")})
}

// A builder's secret that appears or changes while the project is up is hidden, that of
// an image that another one begins with too.
func TestBuildsHideWhatTheyAreGiven(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	given := engine.Options{Secrets: map[string]engine.Secret{"token": {File: file}}}
	set := func(v string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, spec := range map[string]build.Spec{
		"its own":      {Service: "web", Options: given},
		"its parent's": {Service: "web", Siblings: []build.Sibling{{Spec: build.Spec{Service: "base", Options: given}}}},
	} {
		hide := &secrets{}
		set("before-the-start")
		hide.given(spec)
		set("at-the-start")
		b := hidingBuilder{builderFunc(func(progress build.Progress) error {
			progress(build.Event{Step: "one", Line: "at-the-start"})
			set("while-it-runs")
			progress(build.Event{Step: "two", Line: "while-it-runs"})
			return errors.New("before-the-start, at-the-start, while-it-runs")
		}), hide}
		_, err := b.Build(t.Context(), spec, func(e build.Event) {
			if e.Line != "***" {
				t.Errorf("%s: shown as %q", name, e.Line)
			}
		})
		if err == nil || err.Error() != "***, ***, ***" {
			t.Errorf("%s: failed with %v", name, err)
		}
	}
}

type builderFunc func(build.Progress) error

func (f builderFunc) Build(_ context.Context, _ build.Spec, progress build.Progress) (*build.Result, error) {
	return nil, f(progress)
}

// What is built, told and printed of a session goes through the same mask.
func TestUpHidesSecrets(t *testing.T) {
	dir := secretProject(t)
	var out bytes.Buffer
	env := Env{Out: &out, Err: &out, Dir: dir, Getenv: func(k string) string { return map[string]string{"HOME": dir}[k] }}
	p, err := (&projectFlags{}).load(env)
	if err != nil {
		t.Fatal(err)
	}
	hide := &secrets{}
	hide.ofManifests(t.Context(), p)
	plain, err := newPlainFace(env, p, term.Facts{}, false, hide, runAndKeep)
	if err != nil {
		t.Fatal(err)
	}
	shown := masked{plain, hide}
	_, err = hidingBuilder{failing{}, hide}.Build(t.Context(), build.Spec{}, func(e build.Event) {
		for _, text := range []string{e.Line, e.Step, e.Warning} {
			if strings.Contains(text, "manifest") {
				t.Errorf("the builder tells %q", text)
			}
		}
	})
	if pr := problem.As(err); pr == nil || strings.Contains(pr.Error()+pr.Output, "manifest") {
		t.Errorf("the builder fails with %v", err)
	}
	shown.notice(session.Notice{Service: "web", Code: "build-output", Text: "logging in with from-the-manifest"})
	shown.notice(session.Notice{Service: "web", Code: "apply-failed", Text: "password from-base64",
		Problem: &problem.Problem{Code: "x", Summary: "refused from-base64", Output: "from-the-manifest\n", Hint: "not from-base64", Err: errors.New("from-base64")}})
	plain.hub.Source("web-1").WriteLine("a pod says from-the-manifest")
	if err := shown.close(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "from-") || strings.Count(text, "***") != 7 {
		t.Errorf("shown:\n%s", text)
	}
	var kept []string
	folder, err := pastDir(env, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := past.Read(folder, func(_ *store.Source, _ store.Line, msg []byte) error {
		kept = append(kept, string(msg))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(kept, "\n"); !strings.Contains(text, "a pod says ***") || strings.Contains(text, "from-") {
		t.Errorf("kept:\n%s", text)
	}
}

func TestSecretValues(t *testing.T) {
	for _, tt := range []struct {
		name   string
		secret corev1.Secret
		hidden []string
		shown  []string
	}{
		{"a token of a service account", corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, Data: map[string][]byte{
			"token": []byte("the-token"), "namespace": []byte("production"), "ca.crt": []byte("certificate")}}, []string{"the-token"}, []string{"production", "certificate"}},
		{"a certificate", corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.key": []byte("the-key"), "tls.crt": []byte("certificate")}}, []string{"the-key"}, []string{"certificate"}},
		{"a login", corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
			".dockerconfigjson": []byte(`{"auths":{"r.example":{"username":"me","password":"pass-word","auth":"bWU6cGFzcy13b3Jk"}}}`)}}, []string{"pass-word", "bWU6cGFzcy13b3Jk"}, nil},
		{"a release of helm", corev1.Secret{Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte("compressed")}}, nil, []string{"compressed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &secrets{}
			s.add(&tt.secret)
			for _, v := range tt.hidden {
				if got := s.mask.String(v); got != "***" {
					t.Errorf("%s is shown as %s", v, got)
				}
			}
			for _, v := range tt.shown {
				if got := s.mask.String(v); got != v {
					t.Errorf("%s is shown as %s", v, got)
				}
			}
		})
	}
}
