package cli

import (
	"bytes"
	"context"
	"errors"
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
	refusedFor := func(err error, hint string) error {
		return &problem.Problem{Class: problem.Usage, Code: "push-ref", Summary: fmt.Sprintf("--tag %s cannot be used", o.tag), Err: err, Hint: hint}
	}
	refused := func(err error) error { return refusedFor(err, "for example --tag '{{.Branch}}-{{.Commit}}'") }
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
	branch, commit := git("rev-parse", "--abbrev-ref", "HEAD"), git("rev-parse", "--short=12", "HEAD")
	lacks := errors.New("the project is in no commit of a git repository")
	lacksHint := "without {{.Branch}} and {{.Commit}}: --tag '{{.Digest}}', or a text of your own"
	if branch == "HEAD" { // as a pipeline checks out
		branch, lacks = "", errors.New("the commit that is checked out is on no branch")
		lacksHint = "--tag '{{.Commit}}', or the name that the pipeline has for the branch"
	}
	if commit != "" && git("status", "--porcelain", "--untracked-files=no", "--", ".") != "" {
		commit += "-dirty"
	}
	for name, value := range map[string]string{"Branch": branch, "Commit": commit} {
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
			for _, name := range []string{"Branch", "Commit"} {
				if known[name] == "" && strings.Contains(err.Error(), `key "`+name+`"`) {
					return "", refusedFor(lacks, lacksHint)
				}
			}
			return "", refused(err)
		}
		if tag := b.String(); tag == "" || len(tag) > 128 || notInTags.MatchString(tag) || strings.HasPrefix(tag, ".") || strings.HasPrefix(tag, "-") {
			return "", refused(fmt.Errorf("%q is no tag", tag))
		}
		return b.String(), nil
	}, nil
}
