package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/tui"
)

// The sessions of other branches are those of the same project in other checkouts of
// the repository, and of this checkout in other places.
func TestBranches(t *testing.T) {
	dir := unlinked(t.TempDir())
	main, cart := filepath.Join(dir, "main"), filepath.Join(dir, "cart")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", main, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	if err := os.MkdirAll(filepath.Join(main, "apps", "shop"), 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	git("commit", "-q", "--allow-empty", "-m", "first")
	git("worktree", "add", "-q", "-b", "feature/cart", cart)
	git("worktree", "add", "-q", "--detach", filepath.Join(dir, "old"))
	runtime := t.TempDir()
	getenv := func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": runtime}[name] }
	stand := func(root, namespace string) {
		t.Helper()
		about := control.About{Project: "shop", Root: root, Context: "kind-kdev", Namespace: namespace}
		server, err := control.Listen(getenv, about, standingSession{&session.State{}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- server.Serve(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	project := filepath.Join("apps", "shop")
	stand(filepath.Join(main, project), "shop")
	stand(filepath.Join(main, project), "shop-two")
	stand(filepath.Join(cart, project), "shop-cart")
	stand(filepath.Join(cart, "apps", "billing"), "billing") // another project
	stand(filepath.Join(dir, "old", project), "shop-old")
	stand(filepath.Join(dir, "elsewhere", project), "shop-else") // no checkout of it

	d := &dashboard{env: Env{Getenv: getenv}, root: filepath.Join(main, project)}
	found, err := d.branches(t.Context(), &session.State{Context: "kind-kdev", Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range found {
		name := b.Name
		if b.Namespace == "shop-old" && len(name) == 12 {
			name = "COMMIT"
		}
		got = append(got, name+" "+b.Namespace+" "+strings.TrimPrefix(b.Root, dir))
	}
	slices.Sort(got)
	want := []string{"COMMIT shop-old /old/apps/shop", "feature/cart shop-cart /cart/apps/shop", "main shop-two /main/apps/shop"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := (&dashboard{env: Env{Getenv: getenv}, root: t.TempDir()}).branches(t.Context(), &session.State{}); err == nil || !strings.Contains(err.Error(), "not a git repository") {
		t.Errorf("outside a repository: %v", err)
	}
}

func TestParseWorkTrees(t *testing.T) {
	got := parseWorkTrees("worktree /no/such/a\x00HEAD 0123456789abcdef\x00branch refs/heads/feature/x y\x00\x00worktree /no/such/b\x00bare\x00\x00worktree /no/such/c\nd\x00HEAD 0123456789abcdef\x00detached\x00locked\x00\x00")
	want := []workTree{{"/no/such/a", "feature/x y"}, {"/no/such/c\nd", "0123456789ab"}}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What `kdev attach` says when it cannot join is what the dashboard shows.
func TestJoinFails(t *testing.T) {
	j := &joinCommand{ctx: t.Context(), env: Env{In: strings.NewReader(""), Out: &strings.Builder{}}, to: tui.Branch{Root: filepath.Join(t.TempDir(), "gone")}}
	if err := j.Run(); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("%v", err)
	}
}
