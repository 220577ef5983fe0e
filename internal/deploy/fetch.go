package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

const (
	fetchLimit    = 100 << 20 // bytes: the largest indexes of chart repositories have some 20 MB
	fetchPatience = 30 * time.Second
)

// isURL says whether a source is not of the project.
func isURL(source string) bool {
	return strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "http://")
}

// pin is the hash behind an address: https://example.com/crds.yaml#sha256=0c2f….
var pin = regexp.MustCompile(`^(https?://[^#]+)#sha256=([0-9a-f]{64})$`)

// pinned fetches what an address names, whose hash is known beforehand. It is fetched
// once for this machine.
//
// Problems: render-remote.
func pinned(ctx context.Context, address, where string) ([]byte, error) {
	m := pin.FindStringSubmatch(address)
	if m == nil {
		plain, _, _ := strings.Cut(address, "#")
		return nil, &problem.Problem{Class: problem.Usage, Code: "render-remote", Where: orElse(where, address), Summary: plain + " is fetched only with its hash",
			Hint: "add it, so that the same manifests come out tomorrow: " + plain + "#sha256=… (`curl -sL " + plain + " | sha256sum` prints it)"}
	}
	file, err := cached("manifests", m[2])
	if err != nil {
		return nil, err
	}
	if data, err := os.ReadFile(file); err == nil && hashOf(data) == m[2] {
		return data, nil
	}
	data, err := fetch(ctx, m[1])
	if err != nil {
		return nil, &problem.Problem{Class: problem.Usage, Code: "render-remote", Where: orElse(where, address), Summary: m[1] + " cannot be fetched", Err: err,
			Hint: "check the address and the network, or copy the file into the project"}
	}
	if got := hashOf(data); got != m[2] {
		return nil, &problem.Problem{Class: problem.Usage, Code: "render-remote", Where: orElse(where, address), Summary: "what " + m[1] + " answers has another hash: sha256=" + got,
			Hint: "it was changed: read what it is now, and put the new hash in, or take an address that does not change"}
	}
	keep(file, data)
	return data, nil
}

// cached is where this machine keeps what it has fetched.
func cached(kind, name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for what is fetched: %w", err)
	}
	return filepath.Join(cache, "kdev", kind, name), nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// downloads takes what a server sends as it is: one that calls a packed file
// "Content-Encoding: gzip" would have it unpacked, and its hash were another.
var downloads = func() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	return &http.Client{Transport: t}
}()

// fetch gets what an address answers.
func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "kdev")
	answer, err := downloads.Do(r)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, fetchLimit+1))
	err = errors.Join(err, answer.Body.Close())
	switch {
	case answer.StatusCode != http.StatusOK:
		return nil, errors.New("the server answers " + answer.Status)
	case err != nil:
		return nil, err
	case len(data) > fetchLimit:
		return nil, fmt.Errorf("it has more than %d MB", fetchLimit>>20)
	}
	return data, nil
}

// keep writes what was fetched for the next time; without it, it is fetched again.
func keep(file string, data []byte) {
	if os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err != nil || os.Rename(tmp.Name(), file) != nil {
		_ = os.Remove(tmp.Name())
	}
}
