// Package cache keeps what is slow to make: folders named after what they hold and after the recipe that they follow from.
//
// A folder is made under another name and renamed when it is complete, so a run that is interrupted at any point leaves
// nothing that a later run takes for finished. One process at a time makes things.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cache is a folder of artefacts.
type Cache struct {
	Root string

	mu     sync.Mutex
	making map[string]*sync.Mutex
}

// Open returns the cache of this user, ${XDG_CACHE_HOME:-~/.cache}/kdev/offline. It makes nothing.
func Open() (*Cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the cache folder: %w", err)
	}
	return &Cache{Root: filepath.Join(base, "kdev", "offline"), making: map[string]*sync.Mutex{}}, nil
}

// A Recipe is everything that an artefact follows from: versions, texts, flags.
type Recipe []string

// Hash names the recipe. Parts are kept apart, so that ("ab","c") is not ("a","bc").
func (r Recipe) Hash() string {
	sum := sha256.New()
	for _, part := range r {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// Make returns the artefact's folder; when it does not exist yet, build fills it. Older artefacts of that name then go.
func (c *Cache) Make(name string, recipe Recipe, build func(dir string) error) (dir string, cached bool, err error) {
	defer c.only(name)()
	dir = filepath.Join(c.Root, name+"-"+recipe.Hash())
	if _, err := os.Stat(dir); err == nil {
		return dir, true, nil
	}
	if err := os.MkdirAll(c.Root, 0o755); err != nil {
		return "", false, fmt.Errorf("making the cache folder: %w", err)
	}
	temp, err := os.MkdirTemp(c.Root, unfinished+name+"-")
	if err != nil {
		return "", false, fmt.Errorf("making the cache folder: %w", err)
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", false, err
	}
	if err := build(temp); err != nil {
		return "", false, err
	}
	if err := os.Rename(temp, dir); err != nil {
		return "", false, fmt.Errorf("keeping %s: %w", name, err)
	}
	c.drop(name, dir)
	return dir, false, nil
}

// Temp returns a folder for what is needed only now; the next Lock clears it where release was not called.
func (c *Cache) Temp(name string) (dir string, release func(), err error) {
	if err := os.MkdirAll(c.Root, 0o755); err != nil {
		return "", nil, fmt.Errorf("making the cache folder: %w", err)
	}
	dir, err = os.MkdirTemp(c.Root, unfinished+name+"-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// only lets one caller at a time make name.
func (c *Cache) only(name string) (release func()) {
	c.mu.Lock()
	lock := c.making[name]
	if lock == nil {
		lock = &sync.Mutex{}
		c.making[name] = lock
	}
	c.mu.Unlock()
	lock.Lock()
	return lock.Unlock
}

// unfinished starts the name of a folder that is being made.
const unfinished = ".unfinished-"

// drop removes the artefacts of name that follow from other recipes.
func (c *Cache) drop(name, keep string) {
	entries, _ := os.ReadDir(c.Root)
	for _, e := range entries {
		hash, ok := strings.CutPrefix(e.Name(), name+"-")
		if path := filepath.Join(c.Root, e.Name()); ok && len(hash) == 12 && path != keep {
			os.RemoveAll(path)
		}
	}
}

// Lock waits until no other process makes anything, calls wait once if it has to, and clears what an interrupted one left.
func (c *Cache) Lock(ctx context.Context, wait func()) (release func(), err error) {
	if err := os.MkdirAll(c.Root, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(c.Root, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	for first := true; ; first = false {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if err != syscall.EWOULDBLOCK {
			f.Close()
			return nil, fmt.Errorf("locking the cache: %w", err)
		}
		if first {
			wait()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(300 * time.Millisecond): // flock has no wait that a context could end
		}
	}
	entries, _ := os.ReadDir(c.Root)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			os.RemoveAll(filepath.Join(c.Root, e.Name()))
		}
	}
	return func() { f.Close() }, nil
}

// Size is the number of bytes in the cache.
func (c *Cache) Size() int64 {
	var total int64
	_ = filepath.WalkDir(c.Root, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}
