package deploy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy/app"
	"github.com/kdev-io/kdev/internal/problem"
)

// apps adds what kdev.yaml itself describes. A store that a manifest before it runs by
// the same name is that one.
func (m *Manifests) apps(root string, a *config.Apps) error {
	all, err := app.Objects(a)
	if err != nil {
		return err
	}
	runs := map[string]bool{}
	for _, o := range m.Objects {
		runs[o.GetName()] = runs[o.GetName()] || IsWorkload(o)
	}
	for _, r := range all {
		if r.Store != "" && runs[r.Store] {
			continue
		}
		o := &Object{Unstructured: &unstructured.Unstructured{Object: r.Object}, Origin: r.Where, Part: r.Part}
		if r.Secret != nil {
			o.values = &values{root: root, from: *r.Secret}
			for _, file := range r.Secret.SecretFiles() {
				m.files[filepath.Join(root, filepath.FromSlash(file))] = true
			}
			if err := o.values.announce(o); err != nil {
				return err
			}
		}
		m.Objects = append(m.Objects, o)
	}
	return nil
}

// values are those of a Secret that kdev makes. They are read once in each render, when
// they are wanted first: not every render may run the client of a vault.
type values struct {
	root string
	from config.Secret

	mu      sync.Mutex
	read    map[string][]byte // nil: not read yet
	printed map[string]bool   // those of read that the command printed
	again   map[string][]byte // what it prints a second time; nil: it was not asked again
}

// announce puts a placeholder for each key of a file of variables into the Secret. A
// file that is not there is for whoever applies it.
func (v *values) announce(o *Object) error {
	if v.from.EnvFile == "" || len(v.from.Keys) > 0 {
		return nil
	}
	found, err := v.envFile()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	shown, _ := o.Object["stringData"].(map[string]any)
	for key := range found {
		shown[key] = app.Placeholder("from " + v.from.EnvFile)
	}
	return nil
}

func (v *values) envFile() (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(v.root, filepath.FromSlash(v.from.EnvFile)))
	if err != nil {
		return nil, err
	}
	return config.ParseEnv(v.from.EnvFile, string(text))
}

// fill puts the values of a Secret that kdev makes in the place of what stands for them.
// Those that are made up stay what they are in the live object, and so does what a command
// prints differently each time, such as a token with an end: else every render would
// replace the pods that read it. It returns the keys of these.
func (o *Object) fill(ctx context.Context, live *unstructured.Unstructured) (kept []string, _ error) {
	if o.values == nil {
		return nil, nil
	}
	all, err := o.values.get(ctx)
	if err != nil {
		return nil, err
	}
	had := map[string]any{}
	if live != nil {
		had, _, _ = unstructured.NestedMap(live.Object, "data")
	}
	data, _ := o.Object["data"].(map[string]any)
	if data == nil {
		data = map[string]any{}
	}
	for key, value := range all {
		encoded := base64.StdEncoding.EncodeToString(value)
		if before, ok := had[key].(string); ok && before != encoded && o.values.moves(ctx, key) {
			encoded = before
			kept = append(kept, key)
		}
		data[key] = encoded
	}
	slices.Sort(kept)
	for _, key := range o.values.from.Generate {
		value, _ := had[key].(string)
		if value == "" {
			value = base64.StdEncoding.EncodeToString([]byte(password()))
		}
		data[key] = value
	}
	o.Object["data"] = data
	return kept, nil
}

// creator is the field manager of a Secret whose values are made up, until the apply that
// follows has taken its fields over.
const creator = "kdev-create"

// certain looks again for a Secret of which values are made up and which was not seen: who
// may not list Secrets sees none, and a request may fail. Only where it is known to be
// absent are new values made up, since those that are lost open no database. It is then
// created with these alone, which, unlike an apply, only one of two can do that try it at
// once: the other one takes what the winner made up.
func (d *Deployer) certain(ctx context.Context, t target, was *unstructured.Unstructured) (_ *unstructured.Unstructured, created bool, _ error) {
	if was != nil || t.values == nil || len(t.values.from.Generate) == 0 {
		return was, false, nil
	}
	failed := func(err error) error { return d.refusedProblem(err, t.Object) }
	for {
		was, err := t.resource.Get(ctx, t.key.name, metav1.GetOptions{})
		if err == nil {
			return was, false, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, false, failed(err)
		}
		was, err = t.resource.Create(ctx, t.values.fresh(t.Object), metav1.CreateOptions{FieldManager: creator})
		switch {
		case err == nil:
			return was, true, nil
		case !apierrors.IsAlreadyExists(err):
			return nil, false, failed(err)
		}
	}
}

// fresh is a Secret with new values and nothing else, but what makes it a member.
func (v *values) fresh(o *Object) *unstructured.Unstructured {
	made := &unstructured.Unstructured{Object: map[string]any{}}
	made.SetAPIVersion(o.GetAPIVersion())
	made.SetKind(o.GetKind())
	made.SetNamespace(o.GetNamespace())
	made.SetName(o.GetName())
	made.SetLabels(o.GetLabels())
	made.SetAnnotations(o.GetAnnotations())
	if kind, ok := o.Object["type"]; ok {
		made.Object["type"] = kind // it cannot be changed later
	}
	data := map[string]any{}
	for _, key := range v.from.Generate {
		data[key] = base64.StdEncoding.EncodeToString([]byte(password()))
	}
	made.Object["data"] = data
	return made
}

// filled are the keys that fill puts in, as far as they are known, sorted.
func (o *Object) filled() []string {
	if o.values == nil {
		return nil
	}
	shown, _ := o.Object["stringData"].(map[string]any)
	return slices.Sorted(maps.Keys(shown))
}

// password is one that no URL and no shell needs to quote.
func password() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (v *values) get(ctx context.Context) (map[string][]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.read != nil {
		return v.read, nil
	}
	read, err := v.load(ctx)
	v.read = read
	return read, err
}

// moves says whether a command prints another value of a key when it is run once more. It
// is, when its value differs from the live one: that may have been changed in the vault.
func (v *values) moves(ctx context.Context, key string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.printed[key] {
		return false
	}
	if v.again == nil {
		found, err := v.run(ctx)
		if err != nil {
			return false // it may be asked once a minute only: what it has said counts
		}
		v.again = map[string][]byte{}
		for name, value := range found {
			v.again[name] = []byte(value)
		}
	}
	return !bytes.Equal(v.read[key], v.again[key])
}

func (v *values) load(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	take := func(from string, found map[string]string) error {
		if len(v.from.Keys) == 0 {
			for key, value := range found {
				all[key] = []byte(value)
			}
		}
		for _, key := range v.from.Keys {
			value, ok := found[key]
			if !ok {
				return v.problem(from+" has no "+key, nil, "add a line "+key+"=VALUE, or take the key out of `keys:`")
			}
			all[key] = []byte(value)
		}
		return nil
	}
	if v.from.EnvFile != "" {
		found, err := v.envFile()
		if err != nil {
			return nil, v.missing(v.from.EnvFile, err)
		}
		if err := take(v.from.EnvFile, found); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(v.from.Files)) {
		file := v.from.Files[key]
		content, err := os.ReadFile(filepath.Join(v.root, filepath.FromSlash(file)))
		if err != nil {
			return nil, v.missing(file, err)
		}
		all[key] = content
	}
	if len(v.from.Command) > 0 {
		found, err := v.run(ctx)
		if err != nil {
			return nil, err
		}
		if err := take("what the command prints", found); err != nil {
			return nil, err
		}
		v.printed = map[string]bool{}
		for key := range found {
			v.printed[key] = true
		}
	}
	return all, nil
}

// run runs the command of a Secret. What it prints is shown nowhere: it may be the
// secret itself.
func (v *values) run(ctx context.Context) (map[string]string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, v.from.Command[0], v.from.Command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = v.root, &out, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killGrace
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p := problem.As(v.problem("the command of Secret "+v.from.Name+" failed", err, "run it in the project's folder: "+strings.Join(v.from.Command, " ")))
		p.Output = mask(strings.Join(tailOf(said.String(), 20), "\n"))
		return nil, p
	}
	found, err := config.ParseEnv("what the command prints", out.String())
	if err != nil {
		return nil, v.problem("the command of Secret "+v.from.Name+" prints something else than lines NAME=value", nil, "run it in the project's folder: "+strings.Join(v.from.Command, " "))
	}
	return found, nil
}

func (v *values) missing(file string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		if problem.As(err) != nil {
			return err
		}
		return v.problem(file+" cannot be read", err, "make it a file that you may read")
	}
	return v.problem(fmt.Sprintf("there is no %s, from which Secret %s is made", file, v.from.Name), nil, "create it; keep it out of git")
}

func (v *values) problem(summary string, err error, hint string) error {
	return &problem.Problem{Class: problem.Usage, Code: "secret-source", Where: v.from.Where, Summary: summary, Err: err, Hint: hint}
}

// Hidden are the values of the Secrets among objects that kdev makes from files, for
// masks. What cannot be read hides nothing: whoever applies it says why. No command runs.
func Hidden(objects []*Object) []string {
	var all []string
	for _, o := range objects {
		if o.values == nil {
			continue
		}
		files := &values{root: o.values.root, from: o.values.from}
		files.from.Command = nil
		read, _ := files.load(context.Background())
		for _, value := range read {
			all = append(all, string(value))
		}
	}
	return all
}

// isMadeUp says whether kdev made up values of a Secret. They cannot be made again: a
// database on a volume knows no other password.
func isMadeUp(u *unstructured.Unstructured) bool {
	return isSecret(u) && u.GetAnnotations()[app.GeneratedAnnotation] != ""
}
