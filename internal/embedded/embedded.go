package embedded

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/kdev-io/kdev/internal/problem"
)

// Programs are what Program knows, and Architectures what it has them for.
var (
	Programs      = []string{"kdev-agent", "kdev-registry"}
	Architectures = []string{"amd64", "arm64"}
)

//go:embed all:bin
var files embed.FS

// Program returns the static linux executable name for an architecture of Go's naming.
func Program(ctx context.Context, name, arch string) ([]byte, error) {
	packed, err := find(ctx, name, arch)
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", name, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", name, err)
	}
	return b, nil
}

// ID is short, follows from the program's content, and is cheaper than Program.
func ID(ctx context.Context, name, arch string) (string, error) {
	packed, err := find(ctx, name, arch)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(packed)
	return hex.EncodeToString(h[:6]), nil
}

// find returns the program, gzipped. A kdev that was compiled by plain `go
// build`, `go run` or `go test` knows where its sources are and uses the
// program that belongs to them, so that an edited agent is never an old one.
func find(ctx context.Context, name, arch string) ([]byte, error) {
	if !slices.Contains(Programs, name) || !slices.Contains(Architectures, arch) {
		return nil, &problem.Problem{
			Code: "program-unknown", Summary: fmt.Sprintf("there is no %s for linux/%s", name, arch),
			Hint: "kdev runs on nodes of the architectures amd64 and arm64",
		}
	}
	var failed error
	if root := compiledFrom(); root != "" {
		packed, err := Source(ctx, root, name, arch)
		if err == nil || ctx.Err() != nil {
			return packed, err
		}
		failed = err
	}
	packed, err := files.ReadFile("bin/" + FileName(name, arch))
	if err == nil {
		return packed, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if failed == nil {
		if root := aboveExecutable(); root != "" {
			packed, err := Source(ctx, root, name, arch)
			if err == nil || ctx.Err() != nil {
				return packed, err
			}
			failed = err
		}
	}
	output := ""
	var compile *compileError
	if errors.As(failed, &compile) {
		output = compile.output
	}
	return nil, &problem.Problem{
		Output: output,
		Code:   "program-missing", Summary: fmt.Sprintf("this kdev was built without %s for linux/%s", name, arch),
		Hint: "build kdev with `make build` in a checkout, or have Go on the PATH and the sources beside the binary", Err: failed,
	}
}

// FileName is the name under bin/.
func FileName(name, arch string) string { return name + "-linux-" + arch + ".gz" }

// compiledFrom is the folder of the module that this process was compiled
// from, if it is still there. A build with -trimpath does not say.
func compiledFrom() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	return moduleAbove(filepath.Dir(file))
}
