package embedded

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

const module = "github.com/kdev-io/kdev"

// Compile builds a program from the module in root and returns it gzipped.
// Everything that would make two builds differ is turned off or fixed.
func Compile(ctx context.Context, root, name, arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "kdev-compile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, "./cmd/"+name)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=")
	if output, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &compileError{fmt.Sprintf("compile %s for linux/%s", name, arch), string(bytes.TrimSpace(output)), err}
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(program); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// A compileError keeps what Go printed apart from the one line that says what failed.
type compileError struct {
	doing, output string
	cause         error
}

func (e *compileError) Error() string { return e.doing + ": " + e.cause.Error() }
func (e *compileError) Unwrap() error { return e.cause }

// Source is Compile, remembered under the user's cache by what goes in.
func Source(ctx context.Context, root, name, arch string) ([]byte, error) {
	key, err := sourceKey(ctx, root, name, arch)
	if err != nil {
		return nil, err
	}
	dir := ""
	if base, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(base, "kdev", "programs")
		if packed, err := os.ReadFile(filepath.Join(dir, name+"-"+key+".gz")); err == nil {
			return packed, nil
		}
	}
	packed, err := Compile(ctx, root, name, arch)
	if err != nil || dir == "" {
		return packed, err
	}
	// A cache that cannot be written costs time only.
	if os.MkdirAll(dir, 0o755) == nil {
		if f, err := os.CreateTemp(dir, "new-"); err == nil {
			_, err = f.Write(packed)
			if cerr := f.Close(); err == nil && cerr == nil {
				err = os.Rename(f.Name(), filepath.Join(dir, name+"-"+key+".gz"))
			}
			if err != nil {
				os.Remove(f.Name())
			}
		}
	}
	return packed, nil
}

// sourceKey hashes the files of every package of ours that the program
// imports, the module's pins and the Go version: cheaper than asking Go
// whether anything changed, and blind to edits elsewhere in the module.
func sourceKey(ctx context.Context, root, name, arch string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = root
	version, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask Go for its version: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s", name, arch, version)
	sources := map[string][]byte{}
	for _, f := range []string{"go.mod", "go.sum"} {
		if sources[f], err = os.ReadFile(filepath.Join(root, f)); err != nil {
			return "", err
		}
	}
	if err := collect(root, "cmd/"+name, sources, map[string]bool{}); err != nil {
		return "", err
	}
	names := make([]string, 0, len(sources))
	for n := range sources {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		fmt.Fprintf(h, "\x00%s\x00%d\x00", n, len(sources[n]))
		h.Write(sources[n])
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

// collect reads the files of the package in dir and of what it imports from this module.
func collect(root, dir string, sources map[string][]byte, seen map[string]bool) error {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		name := path.Join(dir, e.Name())
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		sources[name] = content
		if !strings.HasSuffix(name, ".go") {
			continue // may be embedded
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, content, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(p, module+"/"); ok {
				if err := collect(root, rest, sources, seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// aboveExecutable finds the checkout whose bin/ or dist/ holds this program.
func aboveExecutable() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return moduleAbove(filepath.Dir(exe))
}

// moduleAbove is the nearest folder at or above dir that holds this module.
func moduleAbove(dir string) string {
	for {
		gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(gomod, []byte("module "+module+"\n")) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}
