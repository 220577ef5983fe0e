package dockerfile

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// harmless are the RUN commands that read no file which COPY may have brought, so
// that what was copied before them can still be synced. Everything else is
// taken to read everything: anything with a substitution, a subshell, a pipe into
// something else or an input redirection too. docs/sync.md has the same table,
// which a test writes.
var harmless = []struct {
	commands string
	but      string // what they do read or change, and what they must not be given
	example  string // one that is harmless
}{
	{"chown chgrp chmod", "owners and modes, no content", "chown -R app /app"},
	{"mkdir, install -d", "", "install -d /data"},
	{"adduser addgroup useradd groupadd usermod groupmod, passwd -d", "", "adduser -D app"},
	{"true : echo printf set cd export umask test [", "", "echo done"},
	{"rm rmdir, ln -s, > redirections", "the paths that they name", "rm -rf /var/lib/apt/lists/*"},
	{"curl wget", "unless they send a file; what they write", "curl -o /tmp/x https://example.com/x"},
	{"apt-get apt apk yum dnf microdnf tdnf zypper", "packages by name; their own configuration (/etc/apt …)", "apk add curl"},
	{"pip pip3, python -m pip", "install of names, without -r, -c, -e and paths; their own configuration", "pip install flask"},
	{"npm pnpm yarn gem cargo go pecl", "global installation of names: npm install -g x, yarn global add x, gem install x, cargo install x, go install x@version", "npm install -g serve"},
	{"corepack enable, ldconfig, a2enmod, docker-php-ext-enable", "", "a2enmod rewrite"},
	{"docker-php-ext-install", "the sources below /usr/src/php", "docker-php-ext-install pdo_mysql"},
}

// A judgement is what a RUN does to the files that are there.
type judgement struct {
	reads   string   // the first command that may read anything; empty: harmless
	touches []string // container paths that it may remove, write or take for its configuration
	makes   []string // directories that it creates
}

// runScript is the text of a RUN: the shell line, with heredocs, or the words of
// the exec form one by line.
func runScript(c *instructions.RunCommand) string {
	if !c.PrependShell {
		return strings.Join(c.CmdLine, "\x00")
	}
	text := strings.Join(c.CmdLine, " ")
	for _, f := range c.Files {
		text += "\n" + f.Data
	}
	return text
}

// abridge is the script in one short line.
func abridge(script string) string {
	s := strings.Join(strings.Fields(strings.ReplaceAll(script, "\x00", " ")), " ")
	const most = 60
	if len(s) > most {
		s = strings.TrimSpace(s[:most]) + "…"
	}
	return s
}

func judge(script string, isShell bool, workdir string) judgement {
	var j judgement
	if !isShell {
		j.command(strings.Split(script, "\x00"), workdir)
		return j
	}
	commands, ok := splitScript(script)
	if !ok {
		j.reads = abridge(script)
		return j
	}
	for _, c := range commands {
		if len(c.words) > 0 && c.words[0] == "cd" {
			// What follows is relative to a directory that we do not follow.
			workdir = ""
		}
		for _, to := range c.writes {
			j.touch(to, workdir)
		}
		j.command(c.words, workdir)
		if j.reads != "" {
			return j
		}
	}
	return j
}

// touch notes a path that is removed or written. A relative one without a known
// directory may be any.
func (j *judgement) touch(p, workdir string) {
	if p == "/dev/null" || p == "/dev/stderr" || p == "/dev/stdout" {
		return
	}
	if i := strings.IndexAny(p, "*?[$"); i >= 0 {
		if p[i] == '$' {
			j.touches = append(j.touches, "/")
			return
		}
		p = p[:strings.LastIndexByte(p[:i], '/')+1]
	}
	switch {
	case path.IsAbs(p):
		j.touches = append(j.touches, path.Clean(p))
	case workdir != "":
		j.touches = append(j.touches, path.Join(workdir, p))
	default:
		j.touches = append(j.touches, "/")
	}
}

func (j *judgement) command(words []string, workdir string) {
	words = dropAssignments(words)
	if len(words) == 0 {
		return
	}
	name, args := path.Base(words[0]), words[1:]
	plain, flags := splitFlags(args)
	reads := true
	j.touches = append(j.touches, configuration[name]...)
	switch name {
	case "chown", "chgrp", "chmod", "adduser", "addgroup", "useradd", "groupadd", "usermod", "groupmod",
		"true", ":", "echo", "printf", "set", "cd", "export", "umask", "test", "[", "ldconfig", "a2enmod",
		"docker-php-ext-install", "docker-php-ext-enable":
		reads = false
	case "mkdir":
		reads = false
		for _, dir := range plain {
			j.make(dir, workdir)
		}
	case "install":
		reads = !slices.Contains(flags, "-d") && !slices.Contains(flags, "--directory")
	case "passwd":
		reads = !slices.Contains(flags, "-d")
	case "ln":
		reads = !slices.ContainsFunc(flags, func(f string) bool {
			return f == "--symbolic" || f[0] == '-' && !strings.HasPrefix(f, "--") && strings.Contains(f, "s")
		})
		if !reads && len(plain) > 0 {
			j.touch(plain[len(plain)-1], workdir)
		}
	case "rm", "rmdir":
		reads = false
		for _, p := range plain {
			j.touch(p, workdir)
		}
	case "curl", "wget":
		reads = !fetches(args)
		for i, a := range args {
			if (a == "-o" || a == "-O" && name == "wget" || a == "--output") && i+1 < len(args) {
				j.touch(args[i+1], workdir)
			}
		}
	default:
		reads = !installsByName(name, plain, flags)
	}
	if reads {
		j.reads = abridge(strings.Join(words, " "))
	}
}

// configuration is what package managers read although they take packages by
// name. docker-php-ext-install compiles what lies below /usr/src/php/ext; see
// https://github.com/docker-library/php/blob/master/docker-php-ext-install.
var configuration = map[string][]string{
	"apt-get": {"/etc/apt", "/usr/share/keyrings"}, "apt": {"/etc/apt", "/usr/share/keyrings"}, "apk": {"/etc/apk"},
	"yum": {"/etc/yum.repos.d", "/etc/pki"}, "dnf": {"/etc/yum.repos.d", "/etc/dnf", "/etc/pki"}, "zypper": {"/etc/zypp"},
	"pip": {"/etc/pip.conf", "/root/.config/pip"}, "pip3": {"/etc/pip.conf", "/root/.config/pip"}, "npm": {"/root/.npmrc"},
	"docker-php-ext-install": {"/usr/src/php"},
}

func (j *judgement) make(dir, workdir string) {
	switch {
	case strings.ContainsAny(dir, "*?[${"):
	case path.IsAbs(dir):
		j.makes = append(j.makes, path.Clean(dir))
	case workdir != "":
		j.makes = append(j.makes, path.Join(workdir, dir))
	}
}

// fetches says whether curl or wget only brings something.
func fetches(args []string) bool {
	for _, a := range args {
		if strings.HasPrefix(a, "@") || strings.Contains(a, "=@") || strings.HasPrefix(a, "file:") {
			return false
		}
		switch a {
		case "-T", "--upload-file", "-K", "--config", "-F", "--form", "-i", "--input-file", "--data-binary", "-d", "--data", "--post-file":
			return false
		}
		if strings.HasPrefix(a, "--post-file=") || strings.HasPrefix(a, "--input-file=") || strings.HasPrefix(a, "--body-file") {
			return false
		}
	}
	return true
}

// installsByName says whether a package manager is asked for packages by name,
// so that it reads no file that was copied.
func installsByName(name string, plain, flags []string) bool {
	if strings.HasPrefix(name, "python") && slices.Contains(flags, "-m") && len(plain) > 0 && plain[0] == "pip" {
		name, plain = "pip", plain[1:]
		flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "-m" })
	}
	if len(plain) == 0 {
		return false
	}
	verb, names := plain[0], plain[1:]
	if slices.ContainsFunc(names, isPath) || slices.ContainsFunc(flags, func(f string) bool {
		_, value, _ := strings.Cut(f, "=")
		return isPath(value)
	}) {
		return false
	}
	global := slices.Contains(flags, "-g") || slices.Contains(flags, "--global")
	switch name {
	case "apt-get", "apt", "apk", "yum", "dnf", "microdnf", "tdnf", "zypper":
		return true
	case "pip", "pip3":
		for _, f := range flags {
			switch option, _, _ := strings.Cut(f, "="); {
			case option == "--requirement", option == "--constraint", option == "--editable", option == "--find-links":
				return false
			case !strings.HasPrefix(f, "--") && strings.ContainsAny(f, "rcef"):
				return false
			}
		}
		return verb == "install" && len(names) > 0 || verb == "cache"
	case "npm", "pnpm":
		return (verb == "install" || verb == "i" || verb == "add") && global && len(names) > 0 || verb == "cache"
	case "yarn":
		return verb == "global" && len(names) > 1 || verb == "cache"
	case "gem":
		return verb == "install" && len(names) > 0 && !slices.Contains(flags, "-g") && !slices.Contains(flags, "--file")
	case "cargo":
		return verb == "install" && len(names) > 0 && !slices.Contains(flags, "--path")
	case "go":
		return verb == "install" && len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return !strings.Contains(n, "@") })
	case "pecl":
		return verb == "install" && len(names) > 0
	case "corepack":
		return verb == "enable"
	}
	return false
}

// isPath says whether a package argument names a file rather than a package.
func isPath(arg string) bool {
	if arg == "." || arg == ".." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") ||
		strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "file:") || strings.HasPrefix(arg, ".[") || strings.Contains(arg, "$") {
		return true
	}
	for _, ext := range []string{".deb", ".rpm", ".apk", ".whl", ".gz", ".tgz", ".zip", ".gem", ".txt", ".toml"} {
		if strings.HasSuffix(arg, ext) {
			return true
		}
	}
	return false
}

func splitFlags(args []string) (plain, flags []string) {
	for _, a := range args {
		if len(a) > 1 && a[0] == '-' {
			flags = append(flags, a)
		} else if a != "" {
			plain = append(plain, a)
		}
	}
	return plain, flags
}

// dropAssignments removes VAR=value before a command.
func dropAssignments(words []string) []string {
	for len(words) > 0 {
		name, _, found := strings.Cut(words[0], "=")
		if !found || name == "" || strings.ContainsAny(name, "/-.$") {
			break
		}
		words = words[1:]
	}
	return words
}
