package cli

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"text/template"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

var notInTags = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// tagger reads --tag. What the repository knows is asked once.
func (o *buildOptions) tagger(ctx context.Context, p *config.Project) (func(service, digest string) (string, error), error) {
	if o.tag == "" {
		return func(_, digest string) (string, error) { return registry.Short(digest), nil }, nil
	}
	refused := func(err error) error {
		return &problem.Problem{Class: problem.Usage, Code: "push-ref", Summary: fmt.Sprintf("--tag %s cannot be used", o.tag), Err: err, Hint: "for example --tag '{{.Branch}}-{{.Commit}}'"}
	}
	t, err := template.New("tag").Option("missingkey=error").Parse(o.tag)
	if err != nil {
		return nil, refused(err)
	}
	git := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = p.Root
		b, err := cmd.Output()
		if err != nil {
			return "" // no repository: the template's use of it is what fails
		}
		return strings.TrimSpace(string(b))
	}
	known := map[string]string{"Project": p.Name}
	for name, value := range map[string]string{"Branch": git("rev-parse", "--abbrev-ref", "HEAD"), "Commit": git("rev-parse", "--short=12", "HEAD")} {
		if value != "" {
			known[name] = strings.Trim(notInTags.ReplaceAllString(value, "-"), "-.")
		}
	}
	return func(service, digest string) (string, error) {
		data := map[string]string{"Service": service, "Digest": registry.Short(digest)}
		for k, v := range known {
			data[k] = v
		}
		var b bytes.Buffer
		if err := t.Execute(&b, data); err != nil {
			return "", refused(err)
		}
		if tag := b.String(); tag == "" || len(tag) > 128 || notInTags.MatchString(tag) || strings.HasPrefix(tag, ".") || strings.HasPrefix(tag, "-") {
			return "", refused(fmt.Errorf("%q is no tag", tag))
		}
		return b.String(), nil
	}, nil
}
