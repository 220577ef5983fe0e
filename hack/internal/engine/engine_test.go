package engine

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

func TestMerge(t *testing.T) {
	const path = "/opt/runcaps"
	registered := `"runtimes":{"runcaps":{"path":"/opt/runcaps"}}`
	for _, c := range []struct {
		name, old, want string
		changes         []string
		kept            int
	}{
		{"no file", "", `{"default-runtime":"runcaps",` + registered + `}`, []string{"runtimes.runcaps", "default-runtime"}, 0},
		{"empty object", "{}", `{"default-runtime":"runcaps",` + registered + `}`, []string{"runtimes.runcaps", "default-runtime"}, 0},
		{"other keys stay", `{"log-level":"warn","shutdown-timeout":9007199254740993}`,
			`{"default-runtime":"runcaps","log-level":"warn","shutdown-timeout":9007199254740993,` + registered + `}`,
			[]string{"runtimes.runcaps", "default-runtime"}, 0},
		{"other runtimes stay", `{"runtimes":{"gvisor":{"path":"/x"}}}`,
			`{"default-runtime":"runcaps","runtimes":{"gvisor":{"path":"/x"},"runcaps":{"path":"/opt/runcaps"}}}`,
			[]string{"runtimes.runcaps", "default-runtime"}, 0},
		{"another default stays", `{"default-runtime":"gvisor"}`, `{"default-runtime":"gvisor",` + registered + `}`, []string{"runtimes.runcaps"}, 1},
		{"nothing to do", `{"default-runtime":"runcaps",` + registered + `}`, `{"default-runtime":"runcaps",` + registered + `}`, nil, 0},
		{"a path of the user's stays", `{"default-runtime":"runcaps","runtimes":{"runcaps":{"path":"/mine"}}}`,
			`{"default-runtime":"runcaps","runtimes":{"runcaps":{"path":"/mine"}}}`, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, changes, kept, err := merge([]byte(c.old), "runcaps", path)
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, string(text), c.want) {
				t.Errorf("got %s, want %s", text, c.want)
			}
			if !slices.Equal(changes, c.changes) || len(kept) != c.kept {
				t.Errorf("changes %q, kept %q", changes, kept)
			}
		})
	}
	for _, broken := range []string{"{", `[]`, `{"runtimes":7}`} {
		if text, _, _, err := merge([]byte(broken), "runcaps", path); err == nil {
			t.Errorf("%s: no error, but %s", broken, text)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestStale(t *testing.T) {
	sleeper := exec.Command("sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	alive := strconv.Itoa(sleeper.Process.Pid)
	// Killed but not yet waited for: dead, and still in the process table.
	zombie := exec.Command("sleep", "0")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	dead := strconv.Itoa(zombie.Process.Pid)
	for runs(dead, "sleep") {
	}
	for _, c := range []struct {
		name, content, program string
		stays                  bool
	}{
		{"alive", alive + "\n", "sleep", true},
		{"another program has the number", alive, "dockerd", false},
		{"dead but not reaped", dead, "sleep", false},
		{"gone", "999999999", "sleep", false},
		{"empty", "", "sleep", false},
		{"no number", "../self", "sleep", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			if err := os.WriteFile(file, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			stale(file, c.program)
			if _, err := os.Stat(file); (err == nil) != c.stays {
				t.Errorf("file there: %v", err == nil)
			}
		})
	}
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
	_ = zombie.Wait()
}

func TestRaise(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{"low": "128\n", "enough": "600\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	limits := func(n int) map[string]int { return map[string]int{"low": n, "enough": n, "absent": n} }
	changed, err := raise(dir, limits(8192), limits(512))
	if err != nil || !slices.Equal(changed, []string{"low: 128 -> 8192"}) {
		t.Errorf("changed %q, error %v", changed, err)
	}
}
