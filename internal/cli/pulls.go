package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/registry"
)

const pullsKind = "pulls"

// pulls are the registries from which clusters pulled a checkout's images when kdev
// last put some there: a render names them as they will be applied, and asks no
// cluster for it.
type pulls struct {
	Last string            `json:"last"` // the context of the last time
	From map[string]string `json:"from"` // by context; none: this machine's store
}

func pullsKey(root string) string {
	sum := sha256.Sum256([]byte(root))
	return hex.EncodeToString(sum[:8])
}

// pullsOf is what is remembered for the checkout at root. What cannot be read is as
// good as nothing.
func pullsOf(store *registry.Store, root string) (p pulls) {
	if raw, err := store.Meta(pullsKind, pullsKey(root)); err != nil || json.Unmarshal(raw, &p) != nil {
		return pulls{}
	}
	return p
}

// registry is where a cluster pulls from: "" for this machine's store. An empty
// context is the one of the last time.
func (p pulls) registry(context string) string {
	if context == "" {
		context = p.Last
	}
	return p.From[context]
}

// rememberPulls keeps where the cluster of a context pulls the images of the checkout
// at root from; nil is this machine's store.
func rememberPulls(store *registry.Store, root, context string, to *build.Target) error {
	p, from := pullsOf(store, root), ""
	if to != nil {
		from = to.Pull
	}
	if p.Last == context && p.From[context] == from || from == "" && len(p.From) == 0 {
		return nil
	}
	if p.From == nil {
		p.From = map[string]string{}
	}
	p.Last, p.From[context] = context, from
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return store.PutMeta(pullsKind, pullsKey(root), raw)
}
