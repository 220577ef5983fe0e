package build

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// writable is a layer of folder entries, nothing else, that gives the folders
// into which files are synced to the container's user: COPY leaves them to
// root. nil where the image runs as root, or nothing has to change. Files need
// no entry: they are replaced by a rename, which is the folder's affair.
func (b *devBuilder) writable(ctx context.Context, spec Spec, d *imageDoc, digest string, outputs []Output) (*layout.Descriptor, error) {
	user := d.text("User")
	if user == "" || user == "0" || user == "root" || strings.HasPrefix(user, "0:") || strings.HasPrefix(user, "root:") {
		return nil, nil
	}
	synced, err := b.syncedFolders(ctx, spec, outputs)
	if err != nil || len(synced) == 0 {
		return nil, err
	}
	if err := b.ep.Pull(ctx, b.store, spec.Repository(), digest); err != nil {
		return nil, err
	}
	image, err := assemble.Look(b.store, &b.trees, digest)
	if err != nil {
		return nil, err
	}
	uid, gid, ok := image.User(user)
	if !ok || uid == 0 {
		return nil, nil // the container does not start, and says so
	}
	var change []assemble.Folder
	for _, p := range synced {
		f, ok := image.Folder(p)
		if !ok || f.UID == uid && f.Mode&0o700 == 0o700 {
			continue
		}
		f.UID, f.GID, f.Mode = uid, gid, f.Mode|0o700
		change = append(change, f)
	}
	// Several paths may lead to one folder.
	slices.SortFunc(change, func(a, b assemble.Folder) int { return strings.Compare(a.Path, b.Path) })
	change = slices.CompactFunc(change, func(a, b assemble.Folder) bool { return a.Path == b.Path })
	if len(change) == 0 {
		return nil, nil
	}
	content, err := foldersTar(change)
	if err != nil {
		return nil, err
	}
	l := layout.Descriptor{MediaType: ociLayer, Size: int64(len(content))}
	l.Digest, err = b.store.PutBlob(content)
	return &l, err
}

// syncedFolders are the folders of the image into which a COPY of the context
// puts something that can be synced, or a build on this machine its outputs.
func (b *devBuilder) syncedFolders(ctx context.Context, spec Spec, outputs []Output) ([]string, error) {
	recipe, err := Load(spec)
	if spec.Dockerfile != "" {
		recipe, err = dockerfile.Load(dockerfile.Options{
			Context: spec.Context, Dockerfile: spec.Dockerfile, Target: spec.Target, Args: spec.Args, Platform: spec.platform(),
			Base: func(image string) (dockerfile.Base, bool) { return assemble.Base(b.store, spec.platform(), image) },
		})
	}
	if err != nil {
		return nil, err
	}
	x, _, done, err := indexOf(spec, b.idx)
	if err != nil {
		return nil, err
	}
	defer done()
	places, err := recipe.Placements(ctx, x)
	if err != nil {
		return nil, err
	}
	folders := map[string]bool{}
	for p, place := range places {
		if place.Entry.IsDir() {
			folders[p] = true
		}
		folders[path.Dir(p)] = true
	}
	for _, o := range outputs {
		folders[path.Dir(o.Path)] = true
	}
	var out []string
	for p := range folders {
		if !systemFolders[p] {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, nil
}

// systemFolders stay root's even in a dev image: programs look at who owns them.
var systemFolders = map[string]bool{
	"/": true, "/bin": true, "/boot": true, "/dev": true, "/etc": true, "/home": true, "/lib": true, "/lib64": true, "/proc": true,
	"/root": true, "/run": true, "/sbin": true, "/sys": true, "/tmp": true, "/usr": true, "/usr/bin": true, "/usr/lib": true,
	"/usr/local": true, "/usr/local/bin": true, "/usr/sbin": true, "/var": true, "/var/run": true, "/var/tmp": true,
}

func foldersTar(folders []assemble.Folder) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range folders {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: f.Path + "/", Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID}
		for mode, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
			if f.Mode&mode != 0 {
				h.Mode |= bit
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
