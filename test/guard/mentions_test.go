package guard

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// No file depends on the machine that it was written on: neither its folders
// nor the package servers that it happens to use.
func TestNoFileMentionsThisMachine(t *testing.T) {
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	if abs, err := filepath.Abs(root); err == nil && strings.Count(abs, "/") > 1 {
		words = append(words, abs+"/")
	}
	words = append(words, servers()...)
	// A home folder of a person; root's is also that of many containers.
	home := regexp.MustCompile(`/(home|Users)/[a-z][a-z0-9]*/(src|work|go|projects?|code|Documents)/`)
	for _, name := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted, or a link to nowhere
		}
		if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			continue // a compiled program, as git tells text from the rest
		}
		if m := home.Find(b); m != nil {
			t.Errorf("%s mentions %s", name, m)
		}
		for i, w := range words {
			if bytes.Contains(b, []byte(w)) {
				t.Errorf("%s names this machine's folder or package server (%d)", name, i)
			}
		}
	}
}

// servers are the hosts of package servers that this machine is set to use
// instead of the public ones.
func servers() []string {
	public := map[string]bool{"": true, "localhost": true, "proxy.golang.org": true, "registry.npmjs.org": true, "deb.debian.org": true, "security.debian.org": true, "pypi.org": true}
	var hosts []string
	add := func(s string) {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil && !public[u.Hostname()] && !strings.HasPrefix(u.Hostname(), "127.") {
			hosts = append(hosts, u.Hostname())
		}
	}
	for _, args := range [][]string{{"go", "env", "GOPROXY"}, {"npm", "config", "get", "registry"}, {"pip", "config", "get", "global.index-url"}} {
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			continue // not installed: no server of its
		}
		for _, s := range strings.FieldsFunc(string(out), func(r rune) bool { return r == ',' || r == '|' || r == '\n' }) {
			add(s)
		}
	}
	apt, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, f := range append(apt, "/etc/apt/sources.list") {
		b, _ := os.ReadFile(f)
		for _, m := range regexp.MustCompile(`(?m)^(?:deb|deb-src|URIs:)\s.*?(https?://[^\s/]+)`).FindAllSubmatch(b, -1) {
			add(string(m[1]))
		}
	}
	return hosts
}
