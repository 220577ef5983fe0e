package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/testkube"
)

// sternFlags are the flags of stern's --help and --show-hidden-options: name, short form,
// default. Where kdev has another default, the number of the difference in docs/logs.md.
var sternFlags = []struct {
	name, short, value string
	why                int
}{
	{"all-namespaces", "A", "false", 0},
	{"burst", "", "0", 0},
	{"color", "", "auto", 0},
	{"completion", "", "", 0},
	{"condition", "", "", 0},
	{"config", "", "", 12},
	{"container", "c", ".*", 0},
	{"container-colors", "", "[]", 0},
	{"container-state", "", "[all]", 0},
	{"context", "", "[]", 0},
	{"diff-container", "d", "false", 0},
	{"ephemeral-containers", "", "true", 0},
	{"exclude", "e", "[]", 0},
	{"exclude-container", "E", "[]", 0},
	{"exclude-pod", "", "[]", 0},
	{"field-selector", "", "", 0},
	{"highlight", "H", "[]", 0},
	{"include", "i", "[]", 0},
	{"init-containers", "", "true", 0},
	{"kubeconfig", "", "", 0},
	{"max-log-requests", "", "-1", 0},
	{"namespace", "n", "[]", 0},
	{"no-follow", "", "false", 0},
	{"node", "", "", 0},
	{"only-log-lines", "", "false", 0},
	{"output", "o", "default", 0},
	{"pod-colors", "", "[]", 9},
	{"prompt", "p", "false", 0},
	{"qps", "", "-1", 7},
	{"selector", "l", "", 0},
	{"show-hidden-options", "", "false", 0},
	{"since", "s", "48h0m0s", 0},
	{"stdin", "", "false", 0},
	{"tail", "", "-1", 0},
	{"template", "", "", 0},
	{"template-file", "T", "", 0},
	{"timestamps", "t", "", 0},
	{"timezone", "", "Local", 0},
	{"verbosity", "", "0", 0},
	{"version", "v", "false", 0},
	{"as", "", "", 0}, {"as-group", "", "[]", 0}, {"as-uid", "", "", 0}, {"cache-dir", "", "", 0}, {"certificate-authority", "", "", 0},
	{"client-certificate", "", "", 0}, {"client-key", "", "", 0}, {"cluster", "", "", 0}, {"disable-compression", "", "false", 0},
	{"insecure-skip-tls-verify", "", "false", 0}, {"request-timeout", "", "0", 0}, {"server", "", "", 0}, {"tls-server-name", "", "", 0},
	{"token", "", "", 0}, {"user", "", "", 0},
}

func TestLogsHasSternsFlags(t *testing.T) {
	flags := newLogs(Env{}).Flags()
	for _, want := range sternFlags {
		f := flags.Lookup(want.name)
		if f == nil {
			t.Errorf("there is no --%s", want.name)
			continue
		}
		if f.Shorthand != want.short || f.DefValue != want.value {
			t.Errorf("--%s has the short form %q and the default %q, want %q and %q", want.name, f.Shorthand, f.DefValue, want.short, want.value)
		}
	}
}

// withoutRow are flags that no run of a table can show; what holds them instead.
var withoutRow = map[string]string{
	"certificate-authority":    "kubeconfig's own field; TestLogsConnectionFlags",
	"client-certificate":       "kubeconfig's own field; TestLogsConnectionFlags",
	"client-key":               "kubeconfig's own field; TestLogsConnectionFlags",
	"insecure-skip-tls-verify": "TestLogsConnectionFlags",
	"server":                   "TestLogsConnectionFlags",
}

// Every flag of stern has a row of the table, and what is said to differ is listed in
// docs/logs.md, which lists at most twelve.
func TestConformanceIsWhole(t *testing.T) {
	used := map[string]bool{}
	short := map[string]string{}
	for _, f := range sternFlags {
		if f.short != "" {
			short["-"+f.short] = f.name
		}
	}
	for _, r := range conformance {
		for _, a := range r.args {
			name, _, _ := strings.Cut(a, "=")
			if long, ok := short[name]; ok {
				used[long] = true
			}
			used[strings.TrimPrefix(name, "--")] = true
		}
	}
	for _, f := range sternFlags {
		if !used[f.name] && withoutRow[f.name] == "" {
			t.Errorf("--%s has no row", f.name)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "## What differs from stern")
	if !ok {
		t.Fatal("docs/logs.md lists no differences")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listed := len(regexp.MustCompile(`(?m)^\d+\. `).FindAllString(section, -1))
	if listed > 12 {
		t.Errorf("docs/logs.md lists %d differences", listed)
	}
	for _, r := range conformance {
		if r.why < 0 || r.why > listed {
			t.Errorf("%s differs because of %d, and docs/logs.md lists %d", r.name, r.why, listed)
		}
	}
	// Functions and outputs that a template and -o know.
	for _, name := range []string{"json", "color", "colorBlack", "colorRed", "colorGreen", "colorYellow", "colorBlue", "colorMagenta", "colorCyan", "colorWhite", "colorCustom",
		"parseJSON", "tryParseJSON", "extractJSONParts", "tryExtractJSONParts", "extjson", "prettyJSON", "toRFC3339Nano", "toUTC", "toTimestamp", "levelColor", "bunyanLevelColor"} {
		call := regexp.MustCompile(`\b` + name + ` `)
		if !slices.ContainsFunc(conformance, func(r row) bool { return r.want == nil && slices.ContainsFunc(r.args, call.MatchString) }) {
			t.Errorf("no row compares the function %s with stern's", name)
		}
	}
	for _, output := range []string{"default", "raw", "json", "extjson", "ppextjson"} {
		if !slices.ContainsFunc(conformance, func(r row) bool { return r.want == nil && slices.Contains(r.args, output) }) {
			t.Errorf("no row compares -o %s with stern's", output)
		}
	}
}

func TestLogsConnectionFlags(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", "line")
	dir := t.TempDir()
	server := "https://" + c.Addr().String()
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, c.Config().CAData, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--server", server, "--insecure-skip-tls-verify"},
		{"--server", server, "--certificate-authority", ca},
	} {
		if o := startLogsWith(t, dir, append(args, "-n", "default", ".", "--until=line")...).wait(); o.code != 0 || o.stdout != "web-1 web line\n" {
			t.Errorf("%v: %d\n%s\n%s", args, o.code, o.stdout, o.stderr)
		}
	}
	for _, args := range [][]string{{"--client-certificate", ca}, {"--client-key", ca}} {
		if o := startLogsWith(t, dir, append(args, "--server", server, "--certificate-authority", ca, ".")...).wait(); o.code != 2 || !strings.Contains(o.stderr, "client-") {
			t.Errorf("%v: half of a pair is taken: %d\n%s\n%s", args, o.code, o.stdout, o.stderr)
		}
	}
}

// What a shell may offer, as stern offers it, and more.
func TestLogsCompletion(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web", "proxy"))
	for _, name := range []string{"default", "other"} {
		if err := c.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "front"}}); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := c.Kubeconfig(t.TempDir(), "fake", "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"--color", ""}, []string{"always", "never", "auto"}},
		{[]string{"--completion", ""}, []string{"bash", "zsh", "fish"}},
		{[]string{"--container-state", ""}, []string{"running", "waiting", "terminated", "all"}},
		{[]string{"--output", "ex"}, []string{"extjson"}},
		{[]string{"--timestamps="}, []string{"default", "short"}},
		{[]string{"--namespace", ""}, []string{"default", "other"}},
		{[]string{"--node", ""}, []string{"node-1"}},
		{[]string{"--context", ""}, []string{"fake"}},
		{[]string{"--container", ""}, []string{"proxy", "web"}},
		{[]string{"dep"}, []string{"deployment/"}},
		{[]string{"service/"}, []string{"service/front"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			o := kdevRun(t, t.TempDir(), row{}, append([]string{"__complete", "logs", "--kubeconfig", kubeconfig}, tt.args...))
			offered := strings.Split(o.stdout, "\n")
			for i, l := range offered {
				offered[i], _, _ = strings.Cut(l, "\t")
			}
			for _, w := range tt.want {
				if !slices.Contains(offered, w) {
					t.Errorf("%s is not offered:\n%s\n%s", w, o.stdout, fmt.Sprint(o.stderr))
				}
			}
		})
	}
}
