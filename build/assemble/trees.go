package assemble

import (
	"slices"
	"strings"
	"sync"

	"github.com/kdev-io/kdev/internal/registry"
)

// Trees keeps the file trees of the images that a process built on last, so
// that a build after an edit lists no base again. It is safe for concurrent use.
type Trees struct {
	mu   sync.Mutex
	kept []*keptTree // last used last
}

type keptTree struct {
	key  string // the layers' digests
	tree *rootfs
}

// maxTrees bounds the memory: a tree of ten thousand files is a few megabytes.
const maxTrees = 16

// of returns the tree of layers of the store.
func (t *Trees) of(store *registry.Store, all []layer) (*rootfs, error) {
	names := make([]string, len(all))
	for i, l := range all {
		names[i] = string(l.Digest)
	}
	key := strings.Join(names, " ")
	if tree := t.get(key); tree != nil {
		return tree, nil
	}
	lists := make([]*listing, len(all))
	for i, l := range all {
		var err error
		if lists[i], err = list(store, l.Descriptor); err != nil {
			return nil, err
		}
	}
	tree := newRootfs(lists)
	t.put(key, tree)
	return tree, nil
}

func (t *Trees) get(key string) *rootfs {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.kept, func(k *keptTree) bool { return k.key == key })
	if i < 0 {
		return nil
	}
	k := t.kept[i]
	t.kept = append(slices.Delete(t.kept, i, i+1), k)
	return k.tree
}

func (t *Trees) put(key string, tree *rootfs) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= maxTrees {
		t.kept = slices.Delete(t.kept, 0, 1)
	}
	t.kept = append(t.kept, &keptTree{key, tree})
}
