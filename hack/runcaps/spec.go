package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/caps"
)

// spec is the JSON file that a runc command takes its process from.
type spec struct {
	path    string // empty: the command starts no process, or takes it from flags
	process bool   // the file is the process object itself (exec --process), not a whole config.json
}

// specOf finds the file in runc's arguments: global flags, a command, the command's flags.
func specOf(args []string) spec {
	command := -1
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			command = i
			break
		}
		if takesValue(args[i]) {
			i++
		}
	}
	if command < 0 {
		return spec{}
	}
	switch rest := args[command+1:]; args[command] {
	case "create", "run", "restore":
		bundle, _ := flag(rest, "bundle", "b")
		return spec{path: filepath.Join(bundle, "config.json")}
	case "exec":
		file, _ := flag(rest, "process", "p")
		return spec{path: file, process: true}
	}
	return spec{}
}

// takesValue tells whether the next argument belongs to the global flag f.
func takesValue(f string) bool {
	return slices.Contains([]string{"log", "log-format", "root", "criu", "rootless"}, strings.TrimLeft(f, "-"))
}

// flag returns the value of -short or --long in the forms that runc's parser knows.
func flag(args []string, long, short string) (string, bool) {
	for i, a := range args {
		name, value, inline := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "-") {
			continue
		}
		if n := strings.TrimLeft(name, "-"); n != long && n != short {
			continue
		}
		if inline {
			return value, true
		}
		if i+1 < len(args) {
			return args[i+1], true
		}
	}
	return "", false
}

// rewrite changes the spec's file in place; a file that needs no change is not touched.
func rewrite(s spec, absent []string) error {
	old, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("reading the container's spec: %w", err)
	}
	changed, err := adapt(old, s.process, absent)
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.path, err)
	}
	if bytes.Equal(old, changed) {
		return nil
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("reading the container's spec: %w", err)
	}
	next := s.path + ".runcaps"
	if err := os.WriteFile(next, changed, info.Mode().Perm()); err != nil {
		return fmt.Errorf("writing the container's spec: %w", err)
	}
	if err := os.Rename(next, s.path); err != nil {
		return fmt.Errorf("writing the container's spec: %w", err)
	}
	return nil
}

// adapt takes the absent capabilities out of every set of the process, and raises a negative OOM score to 0 where
// lowering it needs a capability that is absent. Fields that it does not know stay as they are; numbers keep their digits.
func adapt(text []byte, process bool, absent []string) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var whole map[string]any
	if err := decoder.Decode(&whole); err != nil {
		return nil, err
	}
	proc := whole
	if !process {
		proc, _ = whole["process"].(map[string]any)
	}
	if proc == nil {
		return text, nil
	}
	changed := false
	sets, _ := proc["capabilities"].(map[string]any)
	for name, set := range sets {
		list, _ := set.([]any)
		have := make([]string, 0, len(list))
		for _, c := range list {
			if c, ok := c.(string); ok {
				have = append(have, c)
			}
		}
		if kept, less := caps.Without(have, absent); less {
			sets[name], changed = kept, true
		}
	}
	if score, ok := proc["oomScoreAdj"].(json.Number); ok && strings.HasPrefix(score.String(), "-") &&
		slices.Contains(absent, "CAP_SYS_RESOURCE") {
		proc["oomScoreAdj"], changed = 0, true
	}
	if !changed {
		return text, nil
	}
	return json.Marshal(whole)
}
