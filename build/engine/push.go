package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/distribution"
)

var pingOptions = client.PingOptions{NegotiateAPIVersion: true}

// Push sends the image to the registry in ref ("127.0.0.1:5001/shop/web:tag")
// and returns the digest of its manifest, and how many bytes of layers the
// registry did not have. The tag on the engine goes; the engine's layers stay in
// its build cache.
func (b *Builder) Push(ctx context.Context, ref, token string) (digest string, sent int64, err error) {
	auth, err := json.Marshal(registry.AuthConfig{RegistryToken: token})
	if err != nil {
		return "", 0, err
	}
	resp, err := b.docker.ImagePush(ctx, ref, client.ImagePushOptions{RegistryAuth: base64.URLEncoding.EncodeToString(auth)})
	if err != nil {
		return "", 0, explain(ctx, fmt.Errorf("push %s: %w", ref, err))
	}
	defer resp.Close()
	digest, sent, err = pushed(resp)
	if err != nil {
		if ctx.Err() != nil {
			return "", 0, ctx.Err()
		}
		if strings.Contains(err.Error(), distribution.Full) {
			return "", 0, &problem.Problem{
				Code: "store-full", Summary: distribution.Full,
				Hint: "run `kdev registry gc`, or free space on that disk",
			}
		}
		return "", 0, &problem.Problem{
			Code: "push-failed", Summary: "the engine could not push the image to kdev's registry", Where: ref, Err: err,
			Hint: "the engine must reach this address itself; see `docker push " + ref + "`",
		}
	}
	return digest, sent, nil
}

// Untag removes the name that Build gave.
func (b *Builder) Untag(ctx context.Context, ref string) error {
	_, err := b.docker.ImageRemove(ctx, ref, client.ImageRemoveOptions{})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove %s from the engine: %w", ref, err)
	}
	return nil
}

// pushed reads the engine's JSON messages up to the one that holds the digest.
func pushed(r io.Reader) (digest string, sent int64, err error) {
	sizes := map[string]int64{} // by layer, as far as it was sent
	dec := json.NewDecoder(r)
	for {
		var m struct {
			Status      string          `json:"status"`
			Error       string          `json:"error"`
			Aux         json.RawMessage `json:"aux"`
			ErrorDetail *struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
			ID             string `json:"id"`
			ProgressDetail struct {
				Current int64 `json:"current"`
			} `json:"progressDetail"`
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", 0, fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != "" {
			return "", 0, errors.New(m.Error)
		}
		sizes[m.ID] = max(sizes[m.ID], m.ProgressDetail.Current)
		var aux struct{ Digest string }
		if len(m.Aux) > 0 && json.Unmarshal(m.Aux, &aux) == nil && aux.Digest != "" {
			digest = aux.Digest
		}
		// Podman says it in words only: "latest: digest: sha256:… size: 528".
		if _, rest, ok := strings.Cut(m.Status, "digest: "); ok && digest == "" {
			digest, _, _ = strings.Cut(rest, " ")
		}
	}
	if digest == "" {
		return "", 0, errors.New("the engine named no digest")
	}
	for _, n := range sizes {
		sent += n
	}
	return digest, sent, nil
}
