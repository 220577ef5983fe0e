package ignore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Repository is what git says about the work tree that holds a directory.
type Repository struct {
	Top      string   // root of the work tree; "" outside of one
	Dir      string   // the real git directory: a worktree's own, where its index and index.lock are
	Common   string   // the git directory that all worktrees share
	Excludes []string // absolute; weakest first: global excludes, info/exclude
	FoldCase bool     // core.ignoreCase
}

// FindRepository looks for the work tree that holds dir, as git finds it: the
// nearest directory upwards that has a .git directory or file.
func FindRepository(dir string) (Repository, error) {
	var repo Repository
	var err error
	if repo.Top, repo.Dir, err = locate(dir); err != nil {
		return repo, err
	}
	repo.Common = repo.Dir
	if repo.Dir != "" {
		if text, err := os.ReadFile(filepath.Join(repo.Dir, "commondir")); err == nil {
			repo.Common = resolve(repo.Dir, strings.TrimSpace(string(text)))
		}
	}
	global, fold := gitConfig(dir, repo.Dir != "")
	repo.FoldCase = fold
	if global != "" {
		repo.Excludes = append(repo.Excludes, global)
	}
	if repo.Common != "" {
		repo.Excludes = append(repo.Excludes, filepath.Join(repo.Common, "info", "exclude"))
	}
	return repo, nil
}

// locate returns the root of the work tree that holds dir and its git directory;
// both are "" outside of one.
func locate(dir string) (top, git string, err error) {
	for at := dir; ; at = filepath.Dir(at) {
		git, ok, err := gitDirOf(at)
		if err != nil {
			return "", "", err
		}
		if ok {
			return at, git, nil
		}
		if at == filepath.Dir(at) {
			return "", "", nil
		}
	}
}

// GitDir returns the real git directory of the work tree whose root is dir,
// without asking git.
func GitDir(dir string) (string, bool) {
	git, ok, err := gitDirOf(dir)
	return git, ok && err == nil
}

// gitDirOf returns the git directory of the work tree at dir. In a worktree or
// a submodule .git is a file that names it.
func gitDirOf(dir string) (string, bool, error) {
	git := filepath.Join(dir, ".git")
	info, err := os.Stat(git)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", false, nil
	}
	if err != nil {
		return "", false, nil
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(git, "HEAD")); err != nil {
			return "", false, nil // an empty .git is no repository
		}
		return git, true, nil
	}
	text, err := os.ReadFile(git)
	if err != nil {
		return "", false, err
	}
	target, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return "", false, nil
	}
	return resolve(dir, target), true, nil
}

func resolve(base, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}

// gitConfig asks git for the two settings that decide here. Without git on this
// machine, or when it does not answer, its defaults hold.
func gitConfig(dir string, inside bool) (excludes string, fold bool) {
	excludes = defaultExcludes()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "config", "-z", "--get-regexp", `^core\.(excludesfile|ignorecase)$`)
	cmd.Dir = dir
	cmd.Env = withoutGit(os.Environ())
	if !inside {
		cmd.Env = append(cmd.Env, "GIT_DIR="+os.DevNull)
	}
	out, err := cmd.Output()
	if err != nil {
		return excludes, false
	}
	for _, item := range strings.Split(string(out), "\x00") {
		key, value, _ := strings.Cut(item, "\n")
		switch strings.ToLower(key) {
		case "core.excludesfile":
			excludes = expandHome(value)
			if excludes != "" {
				excludes = resolve(dir, excludes)
			}
		case "core.ignorecase":
			fold = value == "" || strings.EqualFold(value, "true") || strings.EqualFold(value, "yes") || strings.EqualFold(value, "on") || value == "1"
		}
	}
	return excludes, fold
}

// withoutGit drops what a git hook sets for its own repository.
func withoutGit(env []string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY":
			continue
		}
		out = append(out, v)
	}
	return out
}

func defaultExcludes() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "git", "ignore")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".config", "git", "ignore")
	}
	return ""
}

func expandHome(p string) string {
	rest, ok := strings.CutPrefix(p, "~/")
	if !ok {
		return p
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return p
	}
	return filepath.Join(home, rest)
}
