package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/problem"
)

// platformForm is a platform as OCI's image index writes it: os/arch[/variant].
var platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$`)

// check refuses flags that cannot lead to an end, before anything is built.
func (o *buildOptions) check(cmd *cobra.Command) error {
	if o.tag != "" && o.push == "" {
		return usageError(cmd, "--tag is a tag for --push")
	}
	if o.sbom != "" && o.sbom != "spdx" {
		return usageError(cmd, fmt.Sprintf("--sbom is spdx, not %q", o.sbom))
	}
	if cmd.Flags().Changed("push") {
		if err := checkPush(o.push); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("out") {
		if o.out == "" {
			return usageError(cmd, "--out is empty: it names the file to write")
		}
		dir := filepath.Dir(o.file(o.out))
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usageError(cmd, fmt.Sprintf("--out %s: there is no folder %s", o.out, dir))
		}
	}
	for _, p := range o.platforms {
		if !platformForm.MatchString(p) {
			return usageError(cmd, fmt.Sprintf("--platform: %q is no platform; write them as linux/amd64,linux/arm64", p))
		}
	}
	// One order, so that the index has one digest.
	slices.Sort(o.platforms)
	o.platforms = slices.Compact(o.platforms)
	return nil
}

// checkPush says what is wrong with the place to push to. The name of each service is
// added to it.
func checkPush(push string) error {
	refused := func(summary, hint string) error {
		return &problem.Problem{Class: problem.Usage, Code: "push-ref", Summary: fmt.Sprintf("--push %q %s", push, summary), Hint: hint}
	}
	place := strings.TrimSuffix(push, "/")
	if place == "" {
		return refused("names no registry", "for example --push ghcr.io/acme; a variable of the shell in it may be unset")
	}
	if _, rest, ok := strings.Cut(place, "://"); ok {
		return refused("is an address of the web", "without the protocol: --push "+rest)
	}
	if slash, colon := strings.LastIndex(place, "/"), strings.LastIndex(place, ":"); slash >= 0 && colon > slash {
		return refused("ends with a tag", "the tag is given apart, and the service's name is added: --push "+place[:colon]+" --tag "+place[colon+1:])
	}
	if _, err := name.NewRepository(place + "/web"); err != nil {
		hint := "registry, and folders in lower case: --push ghcr.io/acme"
		if lower := strings.ToLower(place); lower != place {
			hint = "names of images are in lower case: --push " + lower
		}
		return refused("names no place of a registry", hint)
	}
	return nil
}
