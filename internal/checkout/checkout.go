package checkout

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// An Address names a folder of one commit of a repository.
type Address struct {
	URL    string // as git takes it
	Commit string // 40 or 64 hexadecimal digits
	Folder string // in the repository, with slashes; empty: its root
}

var (
	address = regexp.MustCompile(`^(.+)@([^@/:]+)(?://(.*))?$`)
	commit  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	scpLike = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9_][A-Za-z0-9._-]*:[^/\\].*$`)
	secret  = regexp.MustCompile(`://[^/@\s]*@`)
	scheme  = regexp.MustCompile(`^(https|http|ssh|git|file)://[^-]`)
)

// patience is how long a git that was interrupted has to end.
const patience = 2 * time.Second

// IsAddress says whether s is no path: it names a repository, with a commit or without.
func IsAddress(s string) bool { return strings.Contains(s, "://") || scpLike.MatchString(s) }

// Parse reads URL@COMMIT or URL@COMMIT//FOLDER, where the URL is one with https, http,
// ssh, git or file, or user@host:path.
//
// Problems: checkout-address, without Where.
func Parse(s string) (Address, error) {
	refused := func(hint, format string, args ...any) (Address, error) {
		return Address{}, &problem.Problem{Class: problem.Usage, Code: "checkout-address", Summary: masked(fmt.Sprintf(format, args...)), Hint: masked(hint)}
	}
	m := address.FindStringSubmatch(s)
	if m == nil || !scheme.MatchString(m[1]) && !scpLike.MatchString(m[1]) {
		url := strings.TrimSuffix(s, "/")
		if !scheme.MatchString(url) && !scpLike.MatchString(url) {
			return refused("write https://HOST/PATH@COMMIT, or user@HOST:PATH@COMMIT", "%s is no address of a git repository", s)
		}
		return refused("add one: "+url+"@COMMIT (`git ls-remote "+url+" HEAD` prints it)", "%s is fetched only at a commit", url)
	}
	a := Address{URL: m[1], Commit: m[2], Folder: strings.Trim(m[3], "/")}
	if !commit.MatchString(a.Commit) {
		return refused("write the whole commit, so that it is the same tomorrow: `git ls-remote "+a.URL+" "+a.Commit+"` prints it", "%s is no commit", a.Commit)
	}
	if a.Folder != "" && !filepath.IsLocal(filepath.FromSlash(a.Folder)) {
		return refused("write it relative to the repository's root", "%s leaves the repository", a.Folder)
	}
	return a, nil
}

// name is what the repository is called, for the folder: a project without a name has
// that of its folder.
func (a Address) name() string {
	url := strings.TrimSuffix(strings.TrimRight(a.URL, "/"), ".git")
	if i := strings.LastIndexAny(url, "/:"); i >= 0 {
		url = url[i+1:]
	}
	if url == "" || !filepath.IsLocal(url) {
		return "repository"
	}
	return url
}

// Get returns the folder on this machine that holds what a names; its files are there
// for reading. progress gets a line where something has to be fetched.
//
// Problems: checkout-git, checkout-failed, checkout-folder, without Where.
func Get(ctx context.Context, a Address, progress func(string)) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for what is fetched: %w", err)
	}
	h := sha256.Sum256([]byte(a.URL))
	home := filepath.Join(cache, "kdev", "checkouts", hex.EncodeToString(h[:8])+"-"+a.Commit)
	tree := filepath.Join(home, a.name())
	if _, err := os.Stat(tree); errors.Is(err, fs.ErrNotExist) {
		progress("fetching " + a.short())
		if err := fetch(ctx, a, home); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	dir := filepath.Join(tree, filepath.FromSlash(a.Folder))
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return "", &problem.Problem{Class: problem.Usage, Code: "checkout-folder", Summary: a.short() + " has no folder " + a.Folder,
			Hint: "name one that it has: " + strings.Join(folders(tree), ", ")}
	}
	return dir, nil
}

// folders are some of those at the root of a tree.
func folders(tree string) (names []string) {
	entries, _ := os.ReadDir(tree)
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && len(names) < 8 {
			names = append(names, e.Name())
		}
	}
	return names
}

// fetch makes home, which then holds the commit's tree. It appears whole or not at all,
// whichever of several processes was first.
func fetch(ctx context.Context, a Address, home string) error {
	if _, err := exec.LookPath("git"); err != nil {
		return &problem.Problem{Code: "checkout-git", Summary: "git is not installed, and " + a.short() + " has to be fetched", Hint: "install it: `apt-get install git` on Debian and Ubuntu"}
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(home), "fetching-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	tree := filepath.Join(temp, a.name())
	if err := run(ctx, a, "init", "--quiet", "--", tree); err != nil {
		return err
	}
	// Most servers hand out any commit by its name. Others hand out what they call by a
	// name of their own, which may hold it.
	if err := run(ctx, a, "-C", tree, "fetch", "--quiet", "--depth=1", "--", a.URL, a.Commit); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if run(ctx, a, "-C", tree, "fetch", "--quiet", "--tags", "--", a.URL, "+refs/heads/*:refs/remotes/origin/*") != nil {
			return err // the second failure says no more than the first
		}
	}
	if err := run(ctx, a, "-C", tree, "checkout", "--quiet", "--detach", a.Commit); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(tree, ".gitmodules")); err == nil {
		// Their addresses may be relative to the repository's own.
		if err := run(ctx, a, "-C", tree, "remote", "add", "origin", a.URL); err != nil {
			return err
		}
		if err := run(ctx, a, "-C", tree, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, home); err != nil {
		if _, serr := os.Stat(filepath.Join(home, a.name())); serr == nil {
			return nil // another process was first
		}
		return err
	}
	return nil
}

// run runs git so that it asks nobody anything.
func run(ctx context.Context, a Address, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:http:ssh:git:file")
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} { // in a hook, those of another repository
		cmd.Env = without(cmd.Env, name)
	}
	if os.Getenv("GIT_SSH_COMMAND") == "" && os.Getenv("GIT_SSH") == "" {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes")
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = patience // git's own helpers may hold the pipe
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	output := masked(strings.TrimSpace(said.String()))
	hint := "check the address, the network and your credentials: git ls-remote " + masked(a.URL)
	if strings.Contains(output, a.Commit) || strings.Contains(output, "not our ref") || strings.Contains(output, "reference is not a tree") {
		hint = "check that the commit was pushed: it has to be on a branch of that repository"
	}
	return &problem.Problem{Code: "checkout-failed", Summary: a.short() + " cannot be fetched", Err: err, Output: output, Hint: hint}
}

func without(env []string, name string) []string {
	kept := env[:0]
	for _, one := range env {
		if !strings.HasPrefix(one, name+"=") {
			kept = append(kept, one)
		}
	}
	return kept
}

// short names a for people.
func (a Address) short() string { return masked(a.URL) + " at " + a.Commit[:12] }

// masked is text without the credentials that an address may hold.
func masked(text string) string { return secret.ReplaceAllString(text, "://") }
