package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/problem"
)

// readConfig sets flags that were not given from the configuration file: a map of
// long flag names to a scalar, or to a list for flags that take several values.
// STERNCONFIG names the file, else --config, else kdev's own in the user's
// configuration folder, else stern's. Only the last two may be missing.
func (o *logsOptions) readConfig(flags *pflag.FlagSet) error {
	path, mayMiss := o.configPath()
	if path == "" {
		return nil
	}
	data, err := parseLogsConfig(path)
	if mayMiss && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &problem.Problem{Class: problem.Usage, Code: "logs-config", Where: path, Summary: "cannot read the configuration file", Err: err,
			Hint: "it is a YAML map of long flag names to values, such as `tail: 10`"}
	}
	// Sorted, so that of several mistakes the same one is told each time.
	for _, name := range slices.Sorted(maps.Keys(data)) {
		flag := flags.Lookup(name)
		if flag == nil || name == "config" {
			fmt.Fprintf(o.env.Err, "warning: %s: there is no option %q\n", path, name)
			continue
		}
		if flag.Changed {
			continue
		}
		if err := setFlag(flag, data[name]); err != nil {
			return &problem.Problem{Class: problem.Usage, Code: "logs-config", Where: path, Err: err,
				Summary: fmt.Sprintf("invalid value %v for %q in the config file", data[name], name),
				Hint:    "the file takes the values that the flag takes"}
		}
	}
	return nil
}

func (o *logsOptions) configPath() (path string, mayMiss bool) {
	if env := o.env.Getenv("STERNCONFIG"); env != "" {
		return o.expandHome(env), false
	}
	if o.configFile != "" {
		return o.expandHome(o.configFile), false
	}
	home := o.env.Getenv("HOME")
	if home == "" {
		return "", true
	}
	folder := o.env.Getenv("XDG_CONFIG_HOME")
	if folder == "" {
		folder = filepath.Join(home, ".config")
	}
	own := filepath.Join(folder, "kdev", "logs.yaml")
	if _, err := os.Stat(own); err == nil {
		return own, false
	}
	return filepath.Join(home, ".config", "stern", "config.yaml"), true
}

func (o *logsOptions) expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(o.env.Getenv("HOME"), rest)
	}
	if !filepath.IsAbs(path) {
		return filepath.Join(o.env.Dir, path)
	}
	return path
}

func parseLogsConfig(path string) (map[string]any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := map[string]any{}
	if err := yaml.NewDecoder(f).Decode(&data); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data, nil
}

func setFlag(flag *pflag.Flag, value any) error {
	list, isList := value.([]any)
	slice, takesList := flag.Value.(pflag.SliceValue)
	if isList && takesList {
		values := make([]string, len(list))
		for i, v := range list {
			values[i] = fmt.Sprint(v)
		}
		return slice.Replace(values)
	}
	return flag.Value.Set(fmt.Sprint(value))
}
