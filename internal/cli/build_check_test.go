package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// What cannot lead to an end is refused before anything is built.
func TestBuildFlags(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		want string // in the problem or its hint; "" is taken
	}{
		"a registry":                {[]string{"--push", "ghcr.io/acme/"}, ""},
		"a registry with a port":    {[]string{"--push", "localhost:5000"}, ""},
		"an unset variable":         {[]string{"--push", ""}, "names no registry"},
		"an address of the web":     {[]string{"--push", "https://host.example/acme"}, "--push host.example/acme"},
		"a tag in it":               {[]string{"--push", "host.example/acme:v1"}, "--push host.example/acme --tag v1"},
		"upper case":                {[]string{"--push", "ghcr.io/Acme"}, "--push ghcr.io/acme"},
		"a tag alone":               {[]string{"--tag", "v1"}, "--tag is a tag for --push"},
		"no folder for the file":    {[]string{"--out", "gone/images.json"}, "there is no folder"},
		"no name of the file":       {[]string{"--out", ""}, "names the file"},
		"a platform":                {[]string{"--platform", "linux/arm/v7"}, ""},
		"no platform":               {[]string{"--platform", "foo"}, "linux/amd64"},
		"a comma too many":          {[]string{"--platform", "linux/amd64,"}, "is no platform"},
		"another bill of materials": {[]string{"--sbom", "cyclonedx"}, "--sbom is spdx"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newBuild(Env{Dir: dir, Getenv: func(string) string { return "" }})
			var checked error
			o := &buildOptions{env: Env{Dir: dir}}
			cmd.RunE = func(cmd *cobra.Command, _ []string) error {
				f := cmd.Flags()
				o.push, _ = f.GetString("push")
				o.tag, _ = f.GetString("tag")
				o.out, _ = f.GetString("out")
				o.sbom, _ = f.GetString("sbom")
				o.platforms, _ = f.GetStringSlice("platform")
				checked = o.check(cmd)
				return nil
			}
			cmd.SetArgs(c.args)
			if err := cmd.Execute(); err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if checked != nil {
					t.Error(checked)
				}
				return
			}
			p := problem.As(checked)
			if p == nil || p.Class != problem.Usage || !strings.Contains(p.Summary+"\n"+p.Hint, c.want) {
				t.Errorf("%v", checked)
			}
		})
	}
	o := &buildOptions{platforms: []string{"linux/arm64", "linux/amd64", "linux/arm64"}}
	if err := o.check(&cobra.Command{}); err != nil || strings.Join(o.platforms, " ") != "linux/amd64 linux/arm64" {
		t.Errorf("%v %v", o.platforms, err)
	}
}

// A tag says of which commit an image is, and that it is not quite of it.
func TestTagOfACommit(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	tag := func(form string) (string, error) {
		t.Helper()
		f, err := (&buildOptions{tag: form}).tagger(t.Context(), &config.Project{Root: dir, Name: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		return f("web", "sha256:0123456789abcdef")
	}
	refused := func(form, cause, hint string) {
		t.Helper()
		got, err := tag(form)
		if p := problem.As(err); p == nil || !strings.Contains(p.Error(), cause) || !strings.Contains(p.Hint, hint) {
			t.Errorf("%s: %q %v", form, got, err)
		}
	}
	refused("{{.Branch}}", "no commit of a git repository", "{{.Digest}}")
	git("init", "-q", "-b", "feature/cart")
	file := filepath.Join(dir, "a")
	if err := os.WriteFile(file, []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-q", "-m", "first")
	commit := git("rev-parse", "--short=12", "HEAD")
	if got, err := tag("{{.Branch}}-{{.Commit}}"); err != nil || got != "feature-cart-"+commit {
		t.Errorf("%q %v", got, err)
	}
	// What a step of a pipeline wrote beside the sources is no change of them.
	if err := os.WriteFile(filepath.Join(dir, "images.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := tag("{{.Commit}}"); err != nil || got != commit {
		t.Errorf("%q %v", got, err)
	}
	if err := os.WriteFile(file, []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := tag("{{.Commit}}"); err != nil || got != commit+"-dirty" {
		t.Errorf("%q %v", got, err)
	}
	git("checkout", "-q", "--detach")
	refused("{{.Branch}}", "on no branch", "{{.Commit}}")
}
