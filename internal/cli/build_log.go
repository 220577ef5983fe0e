package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/transcript"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// transcriptDir is where what the builds of a project print is kept.
func transcriptDir(env Env, p *config.Project) (string, error) {
	dir, err := stateDir(env.Getenv)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(p.Root))
	return filepath.Join(dir, "builds", p.Name+"-"+hex.EncodeToString(sum[:4])), nil
}

// keepOutput keeps what builds print, for `kdev build --log`.
func keepOutput(env Env, p *config.Project, b build.Builder) build.Builder {
	dir, err := transcriptDir(env, p)
	if err != nil {
		return b // without a place for it, builds go on
	}
	return transcript.Keep(b, dir, time.Now)
}

// printLogs prints what the newest builds of services printed.
func (o *buildOptions) printLogs(names []string) error {
	p, err := (&projectFlags{}).load(o.env)
	if err != nil {
		return err
	}
	services, err := chooseServices(p, names)
	if err != nil {
		return err
	}
	dir, err := transcriptDir(o.env, p)
	if err != nil {
		return err
	}
	var without []string
	found := 0
	for _, s := range services {
		file, err := transcript.Last(dir, s.Name)
		if errors.Is(err, transcript.ErrNone) {
			without = append(without, s.Name)
			continue
		}
		if err != nil {
			return fmt.Errorf("find what the build of %s printed: %w", s.Name, err)
		}
		found++
		if len(services) > 1 {
			fmt.Fprintf(o.env.Out, "==== %s\n", s.Name)
		}
		if err := printFile(o.env.Out, file); err != nil {
			return fmt.Errorf("print what the build of %s printed: %w", s.Name, err)
		}
	}
	if found == 0 || len(names) > 0 && len(without) > 0 {
		return &problem.Problem{Code: "build-log", Summary: "no output of a build of " + strings.Join(without, ", ") + " is kept", Hint: "an image that is found in the store is not built, and prints nothing"}
	}
	return nil
}

func printFile(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
