package build

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// outputs lists a file, or all that is in a folder, as it lies at to in an
// image; sorted by path. What is neither file, folder nor link is an error. local
// itself may be a link: that of `nix build` leads to a place which the image has not.
func outputs(ctx context.Context, local, to string) ([]Output, error) {
	if info, err := os.Lstat(local); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if local, err = filepath.EvalSymlinks(local); err != nil {
			return nil, err
		}
	}
	var list []Output
	err := filepath.WalkDir(local, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(local, p)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		o := Output{Local: p, Path: path.Join(to, filepath.ToSlash(rel)), Mode: info.Mode()}
		switch {
		case info.IsDir():
		case info.Mode()&fs.ModeSymlink != 0:
			o.Link, err = os.Readlink(p)
		case info.Mode().IsRegular():
			o.Size = info.Size()
			o.Digest, err = digestOfFile(p)
		default:
			return fmt.Errorf("%s: only files, folders and links can go into an image", p)
		}
		list = append(list, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Output) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

func digestOfFile(p string) (string, error) {
	f, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// files are the outputs without folders: what can be replaced one by one.
func files(list []Output) []Output {
	return slices.DeleteFunc(slices.Clone(list), func(o Output) bool { return o.Mode.IsDir() })
}

// layerKind is the folder of the store that remembers layers by what they hold.
const layerKind = "layers"

// outputLayer is an uncompressed layer of the outputs, owned by root: made now,
// or of the store where it was made of the same ones before.
func outputLayer(ctx context.Context, store *registry.Store, list []Output) (layout.Descriptor, error) {
	fields := []string{"outputs-1"}
	for _, o := range list {
		fields = append(fields, o.Path, o.Mode.String(), o.Digest, o.Link)
	}
	key := digestOf(fields...)
	if raw, err := store.Meta(layerKind, key); err == nil {
		var l layout.Descriptor
		if json.Unmarshal(raw, &l) == nil {
			if store.Store.Has(l.Digest, l.Size) {
				return l, nil
			}
			store.Lost(l.Digest, nil)
		}
	}
	u, err := store.NewUpload()
	if err != nil {
		return layout.Descriptor{}, err
	}
	if err := writeOutputs(ctx, u, list); err != nil {
		u.Cancel()
		return layout.Descriptor{}, err
	}
	l := layout.Descriptor{MediaType: ociLayer, Size: u.Size()}
	if l.Digest, err = u.Commit(""); err != nil {
		return layout.Descriptor{}, err
	}
	raw, err := json.Marshal(l)
	if err != nil {
		return layout.Descriptor{}, err
	}
	return l, store.PutMeta(layerKind, key, raw)
}

func writeOutputs(ctx context.Context, w io.Writer, list []Output) error {
	buffered := bufio.NewWriterSize(w, 256<<10)
	tw := tar.NewWriter(buffered)
	for _, o := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if o.Path == "/" {
			continue // the base's own
		}
		if err := writeOutput(tw, o); err != nil {
			return fmt.Errorf("%s: %w", o.Local, err)
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

func writeOutput(tw *tar.Writer, o Output) error {
	h := &tar.Header{Name: strings.TrimPrefix(o.Path, "/"), Mode: int64(o.Mode.Perm()), ModTime: assemble.TimeOf(o.Digest)}
	switch {
	case o.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case o.Link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, o.Link, 0o777
	default:
		h.Typeflag, h.Size = tar.TypeReg, o.Size
	}
	if err := tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(o.Local)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(tw, sum), f, o.Size); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != o.Digest {
		return fmt.Errorf("the file changed while it was read")
	}
	return nil
}
