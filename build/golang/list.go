package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/process"
)

// A Program is one main package and how it is compiled.
type Program struct {
	Dir      string   // absolute; where go runs
	Main     string   // package, relative to Dir: "./cmd/web"
	Flags    []string // of go build, after kdev's own
	Env      []string // NAME=value
	Platform string   // "linux/amd64"
}

// A Listing is what a program is made from, as of one moment.
type Listing struct {
	Toolchain string // version and settings that decide about the result
	Main      string // folder of the main package
	// Files are all that the compiler and the linker read of the project, absolute and
	// sorted: packages of the module cache and of Go itself are named by
	// go.sum and the toolchain.
	Files []string
	// Whole says that every import was found. What is missing may appear anywhere.
	Whole bool

	profile string   // of -pgo, absolute; empty: none
	dirs    []string // of the packages
	embeds  []embed
}

type embed struct{ dir, pattern string }

type listed struct {
	Dir, Name         string
	Standard          bool
	GoFiles, CgoFiles []string
	CFiles, CXXFiles  []string
	MFiles, HFiles    []string
	FFiles, SFiles    []string
	SwigFiles         []string
	SwigCXXFiles      []string
	SysoFiles         []string
	EmbedFiles        []string
	EmbedPatterns     []string
	Incomplete        bool
	DepOnly           bool
	Module            *struct{ Dir, GoMod string }
	Error             *struct{ Err string }
}

// fields are those of listed, for go list.
const fields = "-json=Dir,Name,Standard,GoFiles,CgoFiles,CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles,SwigFiles,SwigCXXFiles,SysoFiles,EmbedFiles,EmbedPatterns,Incomplete,DepOnly,Module,Error"

// List asks Go what the program is made from. Packages that do not exist or do
// not parse are no error here: the compiler says it better.
func List(ctx context.Context, p Program) (*Listing, error) {
	env, err := p.settings(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]string{"go", "list", "-e", "-deps", fields}, listFlags(p.Flags)...)
	out, err := process.Output(ctx, process.Command{Args: append(args, p.main()), Dir: p.Dir, Env: p.env()})
	if err != nil {
		return nil, explain(err)
	}
	l := &Listing{
		Toolchain: fmt.Sprintf("%s GOFLAGS=%s GOEXPERIMENT=%s GOAMD64=%s GOARM64=%s", env["GOVERSION"], env["GOFLAGS"], env["GOEXPERIMENT"], env["GOAMD64"], env["GOARM64"]),
		Whole:     true,
	}
	files := map[string]bool{}
	if work := env["GOWORK"]; work != "" && work != "off" {
		files[work], files[work+".sum"] = true, true
	}
	cache := env["GOMODCACHE"] + string(filepath.Separator)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg listed
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		l.Whole = l.Whole && !pkg.Incomplete && pkg.Error == nil
		if !pkg.DepOnly {
			l.Main = pkg.Dir
		}
		if !pkg.Standard && pkg.Dir != "" && !strings.HasPrefix(pkg.Dir, cache) {
			l.add(pkg, files)
		}
	}
	if l.profile = p.profile(l.Main); l.profile != "" {
		files[l.profile] = true
	}
	for f := range files {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
			l.Files = append(l.Files, f)
		}
	}
	slices.Sort(l.Files)
	return l, nil
}

// add notes a package of the project.
func (l *Listing) add(pkg listed, files map[string]bool) {
	l.dirs = append(l.dirs, pkg.Dir)
	for _, names := range [][]string{
		pkg.GoFiles, pkg.CgoFiles, pkg.CFiles, pkg.CXXFiles, pkg.MFiles, pkg.HFiles, pkg.FFiles, pkg.SFiles,
		pkg.SwigFiles, pkg.SwigCXXFiles, pkg.SysoFiles, pkg.EmbedFiles,
	} {
		for _, name := range names {
			files[filepath.Join(pkg.Dir, name)] = true
		}
	}
	for _, pattern := range pkg.EmbedPatterns {
		l.embeds = append(l.embeds, embed{pkg.Dir, strings.TrimPrefix(pattern, "all:")})
	}
	if m := pkg.Module; m != nil && m.GoMod != "" && m.Dir != "" {
		files[m.GoMod] = true
		files[strings.TrimSuffix(m.GoMod, ".mod")+".sum"] = true
		files[filepath.Join(m.Dir, "vendor", "modules.txt")] = true
	}
}

// Reads says whether the program is made from the file at an absolute path, or
// would be if it were there.
func (l *Listing) Reads(file string) bool {
	if _, ok := slices.BinarySearch(l.Files, file); ok {
		return true
	}
	if file == l.profile {
		return true
	}
	dir, name := filepath.Split(file)
	if IsSource(name) && (!l.Whole || slices.Contains(l.dirs, filepath.Clean(dir))) {
		return true
	}
	for _, e := range l.embeds {
		rel, err := filepath.Rel(e.dir, file)
		if err == nil && filepath.IsLocal(rel) && embeds(e.pattern, filepath.ToSlash(rel)) {
			return true
		}
	}
	return false
}

// embeds says whether a pattern of go:embed takes in a file: by its name, or
// that of a folder above it.
func embeds(pattern, file string) bool {
	for p := file; p != "."; p = path.Dir(p) {
		if ok, err := path.Match(pattern, p); ok && err == nil {
			return true
		}
	}
	return pattern == "."
}

// Dirs are the folders whose files the program is made from, absolute.
func (l *Listing) Dirs() []string { return l.dirs }

// Profile is what the compiler is guided by where the main package has one: go
// build's -pgo=auto; see https://go.dev/doc/pgo.
const Profile = "default.pgo"

// profile is the profile that go build would read for the main package in a folder.
func (p Program) profile(main string) string {
	value := "auto"
	for i, f := range p.Flags {
		name, v, joined := strings.Cut(strings.TrimLeft(f, "-"), "=")
		if name != "pgo" || !strings.HasPrefix(f, "-") {
			continue
		}
		if value = v; !joined && i+1 < len(p.Flags) {
			value = p.Flags[i+1]
		}
	}
	switch {
	case value == "off", value == "auto" && main == "":
		return ""
	case value == "auto":
		return filepath.Join(main, Profile)
	case filepath.IsAbs(value):
		return filepath.Clean(value)
	}
	return filepath.Join(p.Dir, value)
}

// IsSource says whether a file of that name may belong to a package or module.
func IsSource(name string) bool {
	switch name {
	case "go.mod", "go.sum", "go.work", "go.work.sum":
		return true
	}
	switch filepath.Ext(name) {
	case ".go":
		return !strings.HasSuffix(name, "_test.go")
	case ".c", ".cc", ".cpp", ".cxx", ".m", ".h", ".hh", ".hpp", ".hxx", ".f", ".F", ".for", ".f90", ".s", ".S", ".sx", ".swig", ".swigcxx", ".syso":
		return true
	}
	return false
}

// settings are those of the environment that Go would use.
func (p Program) settings(ctx context.Context) (map[string]string, error) {
	out, err := process.Output(ctx, process.Command{
		Args: []string{"go", "env", "-json", "GOVERSION", "GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOWORK", "GOMODCACHE"},
		Dir:  p.Dir, Env: p.env(),
	})
	if err != nil {
		return nil, explain(err)
	}
	env := map[string]string{}
	if err := json.Unmarshal(out, &env); err != nil {
		return nil, fmt.Errorf("read what go env says: %w", err)
	}
	return env, nil
}

// listFlags are those flags of go build that decide which files belong to the
// program; go list knows them too.
func listFlags(flags []string) []string {
	var out []string
	for i := 0; i < len(flags); i++ {
		name, _, joined := strings.Cut(strings.TrimLeft(flags[i], "-"), "=")
		switch name {
		case "tags", "mod", "modfile", "overlay":
			out = append(out, flags[i])
			if !joined && i+1 < len(flags) {
				i++
				out = append(out, flags[i])
			}
		case "race", "msan", "asan":
			out = append(out, flags[i])
		}
	}
	return out
}
