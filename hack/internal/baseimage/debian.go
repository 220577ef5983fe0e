package baseimage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/cache"
	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/engine"
	"github.com/kdev-io/kdev/hack/internal/step"
)

// Base is the image that all others, and the node image, are made from.
const Base = "debian:bookworm-slim"

const suite = "bookworm"

// path is what the official image sets.
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Debian has Base on the engine.
func (m *Maker) Debian(ctx context.Context) error {
	m.debian.Lock()
	defer m.debian.Unlock()
	recipe, err := debianRecipe()
	if err != nil {
		return err
	}
	debian := image{name: "debian", suffixes: []string{"-slim"}, tags: []string{"bookworm-slim"}, wanted: []string{"bookworm-slim", "12-slim"}}
	return m.Log.Do(area, Base, func() (string, error) {
		if got, err := m.given(ctx, debian, recipe.Hash()); err != nil || got != "" {
			return got, err
		}
		dir, _, err := m.Cache.Make("debian", recipe, func(dir string) error { return rootfs(ctx, dir) })
		if err != nil {
			return "", err
		}
		work := "kdev.dev/offline/debian:" + recipe.Hash()
		if err := docker.Import(ctx, filepath.Join(dir, "rootfs.tar"), work, recipe.Hash(), `CMD ["bash"]`, "ENV "+path); err != nil {
			return "", err
		}
		defer docker.Remove(context.WithoutCancel(ctx), work)
		version, err := os.ReadFile(filepath.Join(dir, "version"))
		if err != nil {
			return "", err
		}
		kept, err := m.name(ctx, debian, work, refs(debian, string(version)), recipe.Hash())
		if len(kept) > 0 {
			return "kept yours: " + strings.Join(kept, ", "), err
		}
		return string(version), err
	})
}

// debianRecipe is what the root file system follows from.
func debianRecipe() (cache.Recipe, error) {
	recipe := cache.Recipe{suite, strings.Join(waste, "\n")}
	for _, f := range settings(sources()) {
		recipe = append(recipe, f.Name, string(f.Content))
	}
	for _, file := range machineCAs() {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading this machine's certificates: %w", err)
		}
		recipe = append(recipe, filepath.Base(file), string(text))
	}
	return recipe, nil
}

// rootfs fills dir with rootfs.tar and version.
func rootfs(ctx context.Context, dir string) error {
	if err := step.NeedRoot("making a Debian root file system"); err != nil {
		return err
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		if err := engine.Apt(ctx, "debootstrap"); err != nil {
			return err
		}
	}
	root := filepath.Join(dir, "rootfs")
	mirror := sources()
	args := []string{"debootstrap", "--variant=minbase"}
	if strings.HasPrefix(mirror.main, "https:") {
		args = append(args, "--include=ca-certificates")
	}
	if err := step.Run(ctx, step.Command{
		Args: append(args, suite, root, mirror.main), Mounts: true,
		Hint: "see that this machine reaches " + mirror.main,
	}); err != nil {
		return err
	}
	for _, pattern := range waste {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, file := range found {
			if err := os.RemoveAll(file); err != nil {
				return err
			}
		}
	}
	extra := settings(mirror)
	for _, file := range machineCAs() {
		extra = append(extra, docker.Entry{Name: "usr/local/share/ca-certificates/" + filepath.Base(file), From: file})
	}
	for _, f := range extra {
		if err := install(root, f); err != nil {
			return err
		}
	}
	version, err := os.ReadFile(filepath.Join(root, "etc/debian_version"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte(strings.TrimSpace(string(version))), 0o644); err != nil {
		return err
	}
	if err := step.Run(ctx, step.Command{
		Args: []string{"tar", "-C", root, "--numeric-owner", "--xattrs", "--one-file-system", "-cf", filepath.Join(dir, "rootfs.tar"), "."},
	}); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

func install(root string, f docker.Entry) error {
	file := filepath.Join(root, f.Name)
	text, mode := f.Content, f.Mode
	if f.From != "" {
		var err error
		if text, err = os.ReadFile(f.From); err != nil {
			return err
		}
	}
	if mode == 0 {
		mode = 0o644
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, mode); err != nil {
		return err
	}
	return os.Chmod(file, mode)
}

// waste is what a container needs nothing of; the host's name and resolver came in with debootstrap.
var waste = []string{
	"etc/hostname", "etc/resolv.conf", "var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/cache/debconf/*-old",
	"var/lib/apt/lists/*", "var/log/*.log", "var/log/apt", "usr/share/doc/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/man/*",
}

// settings are the files that make a root file system an image: small, and without services that start by themselves.
func settings(m mirror) []docker.Entry {
	cleaning := `{ "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };`
	entries := []docker.Entry{
		{Name: "etc/dpkg/dpkg.cfg.d/slim", Content: []byte("force-unsafe-io\n" +
			"path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n" +
			"path-exclude /usr/share/info/*\npath-exclude /usr/share/locale/*\npath-exclude /usr/share/man/*\n")},
		{Name: "etc/apt/apt.conf.d/slim", Content: []byte("Acquire::GzipIndexes \"true\";\nAcquire::Languages \"none\";\n" +
			"APT::AutoRemove::SuggestsImportant \"false\";\nAPT::Update::Post-Invoke " + cleaning + "\nDPkg::Post-Invoke " + cleaning + "\n" +
			"Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n")},
		{Name: "usr/sbin/policy-rc.d", Mode: 0o755, Content: []byte("#!/bin/sh\nexit 101\n")},
		{Name: "etc/apt/sources.list", Content: []byte(fmt.Sprintf("deb %s %s main\ndeb %s %s-updates main\ndeb %s %s-security main\n",
			m.main, suite, m.main, suite, m.security, suite))},
	}
	if m.proxy != "" {
		entries = append(entries, docker.Entry{Name: "etc/apt/apt.conf.d/proxy", Content: []byte(m.proxy)})
	}
	return entries
}

// A mirror is where this machine gets Debian from.
type mirror struct{ main, security, proxy string }

// sources reads the machine's apt configuration: what works for it works for its containers.
func sources() mirror {
	var text strings.Builder
	for _, pattern := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources"} {
		found, _ := filepath.Glob(pattern)
		for _, file := range found {
			content, _ := os.ReadFile(file)
			text.Write(content)
			text.WriteString("\n\n")
		}
	}
	m := parseSources(text.String())
	out, _ := exec.Command("apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy").Output()
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "Acquire::http") && !strings.HasSuffix(line, `"";`) && line != "" {
			m.proxy += line + "\n"
		}
	}
	return m
}

// Addresses of Debian archives, in one-line entries and in deb822 stanzas alike: those whose last element is debian or
// debian-security. Other archives of the machine are nobody else's business.
var (
	mainArchive     = regexp.MustCompile(`(?m)^(?:deb(?:\s+\[[^\]]*\])?|URIs:)\s+(\S+/debian/?)(?:\s|$)`)
	securityArchive = regexp.MustCompile(`(?m)^(?:deb(?:\s+\[[^\]]*\])?|URIs:)\s+(\S+/debian-security/?)(?:\s|$)`)
)

func parseSources(text string) mirror {
	m := mirror{main: "http://deb.debian.org/debian", security: "http://deb.debian.org/debian-security"}
	if found := mainArchive.FindStringSubmatch(text); found != nil {
		m.main = strings.TrimSuffix(found[1], "/")
	}
	if found := securityArchive.FindStringSubmatch(text); found != nil {
		m.security = strings.TrimSuffix(found[1], "/")
	}
	return m
}

// machineCAs are the certificate authorities that somebody gave this machine: a company's proxy, a mirror of its own.
// Without them, no build in these images could fetch anything where there is such a proxy.
func machineCAs() []string {
	found, _ := filepath.Glob("/usr/local/share/ca-certificates/*.crt")
	slices.Sort(found)
	return found
}
