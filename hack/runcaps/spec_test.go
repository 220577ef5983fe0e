package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSpecOf(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want spec
	}{
		{"as containerd calls it", []string{"--root", "/run/r", "--log", "/l", "--log-format", "json", "--systemd-cgroup", "create", "--bundle", "/b", "--pid-file", "/p", "id"},
			spec{path: "/b/config.json"}},
		{"values behind an equals sign", []string{"--root=/run/r", "create", "--bundle=/b", "id"}, spec{path: "/b/config.json"}},
		{"short flag", []string{"run", "-b", "/b", "id"}, spec{path: "/b/config.json"}},
		{"here", []string{"run", "id"}, spec{path: "config.json"}},
		{"a value that is a command's name", []string{"--root", "exec", "create", "--bundle", "/b", "id"}, spec{path: "/b/config.json"}},
		{"exec", []string{"--log", "/l", "exec", "--process", "/p.json", "--detach", "id"}, spec{path: "/p.json", process: true}},
		{"exec by flags", []string{"exec", "id", "sh"}, spec{process: true}},
		{"others", []string{"--root", "/r", "delete", "--force", "id"}, spec{}},
		{"version", []string{"--version"}, spec{}},
		{"nothing", nil, spec{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := specOf(c.args); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAdapt(t *testing.T) {
	absent := []string{"CAP_SYS_RESOURCE"}
	for _, c := range []struct {
		name, in string
		process  bool
		absent   []string
		want     string
	}{
		{"every set", `{"process":{"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]},"uid":0}}`, false, absent,
			`{"process":{"capabilities":{"bounding":["CAP_CHOWN"],"effective":[]},"uid":0}}`},
		{"score", `{"process":{"oomScoreAdj":-998}}`, false, absent, `{"process":{"oomScoreAdj":0}}`},
		{"a score that only rises", `{"process":{"oomScoreAdj":1000}}`, false, absent, `{"process":{"oomScoreAdj":1000}}`},
		{"a score that may be lowered", `{"process":{"oomScoreAdj":-998}}`, false, []string{"CAP_BPF"}, `{"process":{"oomScoreAdj":-998}}`},
		{"process file", `{"capabilities":{"permitted":["CAP_SYS_RESOURCE"]}}`, true, absent, `{"capabilities":{"permitted":[]}}`},
		{"numbers keep their digits", `{"linux":{"resources":{"memory":{"limit":9223372036854771712}}},"process":{"oomScoreAdj":-1}}`, false, absent,
			`{"linux":{"resources":{"memory":{"limit":9223372036854771712}}},"process":{"oomScoreAdj":0}}`},
		{"nothing to do: not a byte changes", `{ "process": {"capabilities": {"bounding": ["CAP_CHOWN"]}} }`, false, absent,
			`{ "process": {"capabilities": {"bounding": ["CAP_CHOWN"]}} }`},
		{"no process", `{"ociVersion":"1.0"}`, false, absent, `{"ociVersion":"1.0"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := adapt([]byte(c.in), c.process, c.absent)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	if got, err := adapt([]byte("no JSON"), false, absent); err == nil {
		t.Errorf("no error, but %s", got)
	}
}

func TestRewrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"process":{"oomScoreAdj":-5}}`), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(spec{path: file}, []string{"CAP_SYS_RESOURCE"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != `{"process":{"oomScoreAdj":0}}` {
		t.Errorf("got %s, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := rewrite(spec{path: file + ".missing"}, []string{"CAP_SYS_RESOURCE"}); err == nil {
		t.Error("a missing file is no error")
	}
}
