package config

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// variables answers ${NAME}: the environment first, then .env, then, for USER
// and BRANCH, what the machine and git say.
type variables struct {
	env    map[string]string
	dotenv map[string]string
	root   string
}

// A reference is ${NAME} or ${NAME:-default}; $${ stands for ${ itself.
var reference = regexp.MustCompile(`\$?\$\{[^}]*\}?`)
var referenceForm = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}$`)

func (v *variables) expand(s string, at position) (string, *problem.Problem) {
	var bad *problem.Problem
	out := reference.ReplaceAllStringFunc(s, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		m := referenceForm.FindStringSubmatch(ref)
		if m == nil {
			bad = usage("config-variable", at, "write ${NAME} or ${NAME:-default}; for the characters ${ themselves write $${", "%s is not a variable", ref)
			return ""
		}
		value, ok := v.lookup(m[1])
		if m[2] != "" && value == "" {
			return m[3]
		}
		if !ok {
			bad = usage("config-variable", at,
				"set it in the environment or in .env, or give a default: ${"+m[1]+":-value}",
				"variable %s is not set", m[1])
		}
		return value
	})
	return out, bad
}

func (v *variables) lookup(name string) (string, bool) {
	if s, ok := v.env[name]; ok {
		return s, true
	}
	if s, ok := v.dotenv[name]; ok {
		return s, true
	}
	switch name {
	case "USER":
		if u, err := user.Current(); err == nil {
			return u.Username, true
		}
	case "BRANCH":
		return gitBranch(v.root)
	}
	return "", false
}

// gitBranch is the branch of the work tree that holds dir, made fit for a
// name: feature/Login is feature-login. It reads .git itself, so that a
// configuration loads without git.
func gitBranch(dir string) (string, bool) {
	for {
		git := filepath.Join(dir, ".git")
		if info, err := os.Stat(git); err == nil {
			if !info.IsDir() { // a linked work tree: "gitdir: PATH"
				text, _ := os.ReadFile(git)
				p, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
				if !ok {
					return "", false
				}
				if !filepath.IsAbs(p) {
					p = filepath.Join(dir, p)
				}
				git = p
			}
			head, err := os.ReadFile(filepath.Join(git, "HEAD"))
			branch, ok := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: refs/heads/")
			if err != nil || !ok {
				return "", false
			}
			branch = label(branch)
			return branch, branch != ""
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// label makes a Kubernetes name out of any text, or "" where nothing is left.
func label(s string) string {
	s = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(s) > 63 {
		s = strings.TrimRight(s[:63], "-")
	}
	return s
}

var dotenvLine = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$`)

// parseDotenv reads NAME=value lines. A value may stand in quotes, and a
// comment may follow a blank; nothing is expanded.
func parseDotenv(name, content string) (map[string]string, Problems) {
	vars := map[string]string{}
	var ps Problems
	for i, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := position{name, i + 1}
		m := dotenvLine.FindStringSubmatch(line)
		if m == nil {
			// The line itself may be a secret, so it is not shown.
			ps = append(ps, usage("config-env", at, "write NAME=value", "the line sets no variable"))
			continue
		}
		value := m[2]
		if value != "" && (value[0] == '"' || value[0] == '\'') {
			end := strings.IndexByte(value[1:], value[0])
			if end < 0 {
				ps = append(ps, usage("config-env", at, "close the quote on the same line", "%s has an open quote", m[1]))
				continue
			}
			if rest := strings.TrimSpace(value[2+end:]); rest != "" && rest[0] != '#' {
				ps = append(ps, usage("config-env", at, "put a value that holds one kind of quote between quotes of the other", "%s goes on behind its closing quote", m[1]))
				continue
			}
			value = value[1 : 1+end]
		} else if c := strings.Index(value, " #"); c >= 0 {
			value = strings.TrimSpace(value[:c])
		}
		vars[m[1]] = value
	}
	return vars, ps
}
