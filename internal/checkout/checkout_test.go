package checkout

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

const some = "0123456789abcdef0123456789abcdef01234567"

func TestParse(t *testing.T) {
	for in, want := range map[string]Address{
		"https://example.com/acme/billing.git@" + some:                         {"https://example.com/acme/billing.git", some, ""},
		"https://ada:x@example.com/billing@" + some + "//services/api/":        {"https://ada:x@example.com/billing", some, "services/api"},
		"git@example.com:acme/billing.git@" + some:                             {"git@example.com:acme/billing.git", some, ""},
		"ssh://git@example.com:2222/acme/billing@" + some + "//api":            {"ssh://git@example.com:2222/acme/billing", some, "api"},
		"file:///srv/billing@" + some + strings.Repeat("0", 24) + "//charts/a": {"file:///srv/billing", some + strings.Repeat("0", 24), "charts/a"},
	} {
		got, err := Parse(in)
		if err != nil || got != want || !IsAddress(in) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"https://example.com/billing":                    "is fetched only at a commit // add one: https://example.com/billing@COMMIT",
		"git@example.com:billing.git":                    "is fetched only at a commit",
		"https://ada:hush@example.com/billing":           "https://example.com/billing",
		"https://example.com/billing@v1":                 "v1 is no commit // write the whole commit",
		"https://example.com/billing@" + some[:12]:       "is no commit",
		"https://example.com/billing@" + some + "//../x": "leaves the repository",
		"ext::sh -c touch% /tmp/x://a@" + some:           "is no address of a git repository",
		"https://-oProxyCommand=x/a@" + some:             "is no address of a git repository",
		"-oProxyCommand=x@example.com:a://x@" + some:     "is no address of a git repository",
	} {
		_, err := Parse(in)
		p := problem.As(err)
		if p == nil || p.Code != "checkout-address" || !strings.Contains(p.Summary+" // "+p.Hint, want) {
			t.Errorf("%s: %+v", in, p)
			continue
		}
		if strings.Contains(p.Summary+p.Hint, "hush") {
			t.Errorf("tells a password: %s // %s", p.Summary, p.Hint)
		}
	}
	for _, path := range []string{"../billing", "services/a@b", "a:b/c", "."} {
		if IsAddress(path) {
			t.Errorf("%s is a path", path)
		}
	}
}

// repository makes one with two commits, of which the first is on no branch any more when
// hidden is set, and returns its address and both.
func repository(t *testing.T, name string) (url, first, second string, git func(...string) string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for key, value := range map[string]string{
		"HOME": t.TempDir(), "XDG_CACHE_HOME": t.TempDir(), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "",
		"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
	} {
		t.Setenv(key, value)
	}
	if err := os.MkdirAll(filepath.Join(dir, "api"), 0o755); err != nil {
		t.Fatal(err)
	}
	git = func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "api", "kdev.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", ".")
		git("commit", "-qm", text)
	}
	git("init", "-q", "-b", "main")
	write("one")
	first = git("rev-parse", "HEAD")
	write("two")
	return "file://" + dir, first, git("rev-parse", "HEAD"), git
}

func get(t *testing.T, a Address) (dir string, fetched int, err error) {
	t.Helper()
	dir, err = Get(t.Context(), a, func(string) { fetched++ })
	return dir, fetched, err
}

func TestGet(t *testing.T) {
	url, first, second, _ := repository(t, "shop.git")
	for commit, want := range map[string]string{first: "one", second: "two"} {
		for again := range 2 {
			dir, fetched, err := get(t, Address{url, commit, "api"})
			if err != nil {
				t.Fatal(err)
			}
			if fetched != 1-again {
				t.Errorf("fetched %d times, the %d. time", fetched, again)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "kdev.yaml")); string(b) != want {
				t.Errorf("%q, %v", b, err)
			}
			if filepath.Base(filepath.Dir(dir)) != "shop" {
				t.Errorf("a project without a name is called by its folder: %s", dir)
			}
		}
	}
	_, _, err := get(t, Address{url, first, "web"})
	if p := problem.As(err); p == nil || p.Code != "checkout-folder" || !strings.Contains(p.Hint, "api") {
		t.Errorf("%v", err)
	}
}

func TestGetFails(t *testing.T) {
	url, first, _, _ := repository(t, "shop")
	for _, c := range []struct {
		a    Address
		hint string
	}{
		{Address{url, some, ""}, "pushed"},
		{Address{"file:///nowhere/at/all", first, ""}, "git ls-remote"},
	} {
		_, _, err := get(t, c.a)
		if p := problem.As(err); p == nil || p.Code != "checkout-failed" || p.Output == "" || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%v: %+v", c.a, p)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Get(ctx, Address{url, first, ""}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(cache, "kdev", "checkouts")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Several processes that want the same commit get it, whoever is first.
func TestGetAtOnce(t *testing.T) {
	url, first, _, _ := repository(t, "shop")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			dir, err := Get(context.Background(), Address{url, first, "api"}, func(string) {})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "kdev.yaml")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A server that hands out branches alone has the commit in one of them.
func TestGetFromAServerThatRefusesCommits(t *testing.T) {
	url, first, _, git := repository(t, "shop")
	git("config", "uploadpack.allowAnySHA1InWant", "false")
	git("config", "uploadpack.allowReachableSHA1InWant", "false")
	git("config", "protocol.version", "0")
	t.Setenv("GIT_CONFIG_COUNT", "1") // protocol 2 hands out any commit
	t.Setenv("GIT_CONFIG_KEY_0", "protocol.version")
	t.Setenv("GIT_CONFIG_VALUE_0", "0")
	dir, _, err := get(t, Address{url, first, "api"})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "kdev.yaml")); string(b) != "one" {
		t.Errorf("%q", b)
	}
}
