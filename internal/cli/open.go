package cli

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

func newOpen(env Env) *cobra.Command {
	var flags projectFlags
	var onlyPrint bool
	cmd := &cobra.Command{
		Use:   "open [SERVICE]",
		Short: "Open a service of the running kdev up in the browser",
		Long: `Open shows a service in the browser: $BROWSER where that is set, else the desktop's own.
Without a name it is the project as a whole: the first address of its Ingress or HTTPRoute rules, else the first forwarded
port. The URL is printed too.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(cmd, "open takes one service")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := flags.stateOf(cmd, env)
			if err != nil {
				return err
			}
			url, err := urlOf(st, args)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(env.Out, url); err != nil || onlyPrint {
				return err
			}
			return browse(cmd.Context(), env, url)
		},
	}
	flags.addRunning(cmd)
	cmd.Flags().BoolVar(&onlyPrint, "print", false, "print the URL and open nothing")
	return cmd
}

// urlOf finds where a browser finds a service.
func urlOf(st *session.State, args []string) (string, error) {
	if len(args) == 0 {
		if st.URL != "" {
			return st.URL, nil
		}
		return "", &problem.Problem{Code: "no-url", Summary: "no service has an address on this machine",
			Hint: "name a port in kdev.yaml: `services: {NAME: {ports: [8080:80]}}`"}
	}
	s, ok := st.Service(args[0])
	if !ok {
		return "", session.Unknown(args[0], st.Names())
	}
	if len(s.URLs) == 0 {
		return "", &problem.Problem{Code: "no-url", Where: s.Name, Summary: "it has no address on this machine",
			Hint: fmt.Sprintf("name one in kdev.yaml: `services: {%s: {ports: [8080:80]}}`", s.Name)}
	}
	return s.URLs[0], nil
}

// browse hands the URL to a browser. A machine without one is no error: the URL
// was printed.
func browse(ctx context.Context, env Env, url string) error {
	var candidates [][]string
	if b := env.Getenv("BROWSER"); b != "" {
		candidates = append(candidates, []string{b})
	}
	switch runtime.GOOS {
	case "darwin":
		candidates = append(candidates, []string{"open"})
	case "windows":
		candidates = append(candidates, []string{"rundll32", "url.dll,FileProtocolHandler"})
	default:
		candidates = append(candidates, []string{"xdg-open"}, []string{"wslview"})
	}
	for _, c := range candidates {
		path, err := exec.LookPath(c[0])
		if err != nil {
			continue
		}
		browser := exec.CommandContext(ctx, path, append(c[1:], url)...)
		if out, err := browser.CombinedOutput(); err != nil {
			return &problem.Problem{Code: "browser-failed", Where: path, Summary: "the browser could not be started", Output: string(out), Err: err,
				Hint: "set BROWSER to a command that takes a URL, or open it yourself: " + url}
		}
		return nil
	}
	fmt.Fprintln(env.Err, "no browser was found: set BROWSER to a command that takes a URL")
	return nil
}
