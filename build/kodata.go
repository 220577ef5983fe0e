package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// A dataLink is a link in kodata: its place, and the file or folder that it leads to.
type dataLink struct{ link, to string }

// leads says whether the link leads to a file, or to a folder above it.
func (l dataLink) leads(file string) bool {
	return file == l.to || strings.HasPrefix(file, l.to+string(filepath.Separator))
}

// data is the folder kodata of the program, absolute.
func (g *Go) data(spec Spec) string {
	return filepath.Join(spec.Context, filepath.FromSlash(g.Main), dataName)
}

// dataOutputs are the files of kodata as they lie in the image. Links are followed,
// as ko does (kodata/LICENSE -> ../../../LICENSE): what they lead to is not there.
func dataOutputs(ctx context.Context, spec Spec) ([]Output, error) {
	var list []Output
	err := followed(spec.Root, spec.Go.data(spec), func(rel, real string, info fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		o := Output{Local: real, Path: path.Join(dataFolder, filepath.ToSlash(rel)), Mode: info.Mode()}
		if info.Mode().IsRegular() {
			var err error
			o.Size = info.Size()
			if o.Digest, err = digestOfFile(real); err != nil {
				return err
			}
		}
		list = append(list, o)
		return nil
	}, nil)
	slices.SortFunc(list, func(a, b Output) int { return strings.Compare(a.Path, b.Path) })
	return list, err
}

// followed walks a folder through its links: visit hears of each file and folder,
// by its place and by where it really is, and link of each link. A missing folder
// has nothing. What lies in the project is called as the project's folder is, which
// may be a link itself.
func followed(project, root string, visit func(rel, real string, info fs.FileInfo) error, link func(dataLink)) error {
	var walk func(rel, real string, above []string) error
	walk = func(rel, real string, above []string) error {
		place := filepath.Join(root, rel)
		info, err := os.Lstat(real)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, err := filepath.EvalSymlinks(real)
			if err != nil {
				return badLink(place, "it leads to nothing", err)
			}
			to = named(project, to)
			if link != nil {
				link(dataLink{real, to})
			}
			real = to
			if info, err = os.Stat(real); err != nil {
				return err
			}
		}
		switch {
		case info.Mode().IsRegular():
			return visit(rel, real, info)
		case !info.IsDir():
			return badLink(place, "only files, folders and links to them can go into an image", nil)
		}
		// The folder may be below itself only by a link.
		whole, err := filepath.EvalSymlinks(real)
		if err != nil {
			return err
		}
		if slices.Contains(above, whole) {
			return badLink(place, "it leads to a folder that it is in", nil)
		}
		if err := visit(rel, real, info); err != nil {
			return err
		}
		entries, err := os.ReadDir(real)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := walk(filepath.Join(rel, e.Name()), filepath.Join(real, e.Name()), append(slices.Clone(above), whole)); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk(".", root, nil)
	if errors.Is(err, fs.ErrNotExist) && problem.As(err) == nil {
		return nil
	}
	return err
}

// named is a path without links as it is called from the project's folder on.
func named(project, file string) string {
	whole, err := filepath.EvalSymlinks(project)
	if err != nil || project == "" {
		return file
	}
	rel, err := filepath.Rel(whole, file)
	if err != nil || !filepath.IsLocal(rel) {
		return file
	}
	return filepath.Join(project, rel)
}

func badLink(place, what string, err error) error {
	return &problem.Problem{Code: "build-failed", Where: place, Summary: dataName + " cannot go into the image: " + what, Err: err,
		Hint: fmt.Sprintf("remove %s, or let it lead to a file or folder", filepath.Base(place))}
}
