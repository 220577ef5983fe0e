package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/distribution"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// probe tries every path through the registry with blobs that nobody has seen
// before: what is written into the folder is read by HTTP, and what is
// written by HTTP with the token appears in the folder. For a volume, only
// the latter half by HTTP. It waits a few seconds for a server that starts.
func (e *ensurer) probe(ctx context.Context, ep *Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := await(ctx, ep); err != nil {
		return err
	}
	if e.shared {
		nonce := []byte("kdev probe " + rand.Text())
		d, err := e.store.PutBlob(nonce)
		if err != nil {
			return diskFull(err)
		}
		defer e.store.RemoveBlob(d)
		got, err := ep.blob(ctx, "kdev/probe", d)
		if err != nil || !bytes.Equal(got, nonce) {
			return fmt.Errorf("the engine does not share %s: %w", e.store.Dir(), orElse(err, "other content"))
		}
	}
	nonce := []byte("kdev probe " + rand.Text())
	d := layout.DigestOf(nonce)
	if err := ep.putBlob(ctx, "kdev/probe", d, bytes.NewReader(nonce), int64(len(nonce))); err != nil {
		return diskFull(fmt.Errorf("write to the image registry: %w", err))
	}
	if e.shared {
		if !e.store.Store.Has(d, int64(len(nonce))) {
			return fmt.Errorf("the engine does not share %s: what it writes does not appear there", e.store.Dir())
		}
		// Fails where the file belongs to another user.
		return e.store.RemoveBlob(d)
	}
	got, err := ep.blob(ctx, "kdev/probe", d)
	if err != nil || !bytes.Equal(got, nonce) {
		return fmt.Errorf("read back from the image registry: %w", orElse(err, "other content"))
	}
	return nil
}

func orElse(err error, text string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", text)
}

// await waits until the server answers at all.
func await(ctx context.Context, ep *Endpoint) error {
	wait := 5 * time.Millisecond
	for {
		err := ep.ping(ctx)
		if err == nil || problem.As(err) != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return &problem.Problem{
				Code: "registry-unreachable", Summary: "the image registry does not answer on " + ep.PushHost, Err: err,
				Hint: "the engine must publish ports on this machine's 127.0.0.1; see `docker logs " + ep.Container + "`",
			}
		case <-time.After(wait):
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
}

// ping asks with the token whether it is our registry that answers.
func (e *Endpoint) ping(ctx context.Context) error {
	resp, err := e.do(ctx, http.MethodGet, "http://"+e.PushHost+"/v2/", nil, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /v2/: %s", resp.Status)
	}
	return nil
}

func (e *Endpoint) do(ctx context.Context, method, url string, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+e.Token)
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	return e.http.Do(req)
}

// blob reads a small blob over HTTP.
func (e *Endpoint) blob(ctx context.Context, repo string, d layout.Digest) ([]byte, error) {
	resp, err := e.do(ctx, http.MethodGet, e.url("%s/blobs/%s", repo, d), nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET blob %s: %s", d, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, layout.MaxManifest+1))
}

// putBlob writes a blob over HTTP in one request.
func (e *Endpoint) putBlob(ctx context.Context, repo string, d layout.Digest, r io.Reader, size int64) error {
	resp, err := e.do(ctx, http.MethodPost, e.url("%s/blobs/uploads/?digest=%s", repo, d), r, size)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return notTaken(fmt.Sprintf("POST blob %s", d), resp)
	}
	return nil
}

// notTaken is the error of a write that the registry did not take.
func notTaken(doing string, resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if bytes.Contains(b, []byte(distribution.Full)) {
		return fmt.Errorf("%s: %w", doing, errNoSpace)
	}
	return fmt.Errorf("%s: %s %s", doing, resp.Status, bytes.TrimSpace(b))
}

// freeFirst puts the ports on which somebody listens on this machine last:
// with an engine elsewhere, this machine's listeners say nothing.
func freeFirst(ports []uint16) []uint16 {
	var free, taken []uint16
	for _, p := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			taken = append(taken, p)
			continue
		}
		l.Close()
		free = append(free, p)
		if len(free) == 4 {
			break // enough candidates; a race for one leaves three
		}
	}
	return append(free, taken...)
}

// portTaken recognises the engine's refusal of a host port by its texts, which
// have no type of their own (Docker, rootless Docker, Podman).
func portTaken(err error) bool {
	for _, text := range []string{"port is already allocated", "address already in use", "ports are not available", "failed to bind host port"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
