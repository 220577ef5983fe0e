package sbom

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// A Package is one piece of software in an image.
type Package struct {
	Name, Version string
	URL           string // a package URL: "pkg:deb/debian/tar@1.34?arch=amd64"
	From          string // the file that says so
}

// maxText is the largest database or metadata file that is read.
const maxText = 64 << 20

// Scan lists the packages of an image, sorted by package URL.
func Scan(ctx context.Context, img v1.Image) ([]Package, error) {
	s := &scanner{found: map[string]Package{}}
	defer s.close()
	files := mutate.Extract(img) // as a container sees them: layers merged, whiteouts applied
	defer files.Close()
	stop := context.AfterFunc(ctx, func() { files.Close() })
	defer stop()
	tr := tar.NewReader(files)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = s.file(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), h, tr)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("read the image's files: %w", err)
		}
	}
	s.distribution()
	list := make([]Package, 0, len(s.found))
	for _, url := range slices.Sorted(maps.Keys(s.found)) {
		list = append(list, s.found[url])
	}
	return list, nil
}

type scanner struct {
	found   map[string]Package
	release map[string]string // of /etc/os-release
	// Those of the distribution wait for its name, which may come later.
	debs, apks []stanza
	spool      *os.File
}

// A stanza is a paragraph of a package database: its fields, and its file.
type stanza struct {
	fields map[string]string
	from   string
}

func (s *scanner) file(name string, h *tar.Header, r io.Reader) error {
	base := path.Base(name)
	read, ok := s.reader(name)
	if !ok {
		if h.FileInfo().Mode()&0o111 != 0 && h.Size > 4096 {
			return s.program(name, r)
		}
		return nil
	}
	if h.Size > maxText {
		return fmt.Errorf("%s has %d bytes, more than %s should have", name, h.Size, base)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	read(name, text)
	return nil
}

// reader is what understands a file of that name.
func (s *scanner) reader(name string) (func(name string, text []byte), bool) {
	dir, base := path.Split(name)
	switch {
	case name == "var/lib/dpkg/status", dir == "var/lib/dpkg/status.d/" && !strings.HasSuffix(base, ".md5sums"):
		return func(name string, text []byte) { s.debs = append(s.debs, stanzas(name, text)...) }, true
	case name == "lib/apk/db/installed", name == "usr/lib/apk/db/installed":
		return func(name string, text []byte) { s.apks = append(s.apks, stanzas(name, text)...) }, true
	case name == "etc/os-release", name == "usr/lib/os-release":
		return func(_ string, text []byte) { s.osRelease(text) }, true
	case base == "package.json" && path.Base(path.Dir(path.Dir(name))) == "node_modules",
		base == "package.json" && strings.HasPrefix(path.Base(path.Dir(path.Dir(name))), "@") && path.Base(path.Dir(path.Dir(path.Dir(name)))) == "node_modules":
		return s.npmPackage, true
	case base == "package-lock.json", base == ".package-lock.json":
		return s.npmLock, true
	case base == "METADATA" && strings.HasSuffix(path.Dir(name), ".dist-info"),
		base == "PKG-INFO" && strings.HasSuffix(path.Dir(name), ".egg-info"):
		return s.python, true
	}
	return nil, false
}

func (s *scanner) add(p Package) {
	if p.Name == "" || p.Version == "" {
		return
	}
	if old, ok := s.found[p.URL]; !ok || p.From < old.From {
		s.found[p.URL] = p
	}
}

// program lists the modules that a Go program was linked from.
func (s *scanner) program(name string, r io.Reader) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	if !bytes.Equal(head, []byte("\x7fELF")) {
		return nil
	}
	// The information may be anywhere in it, and a program be larger than memory.
	if s.spool == nil {
		f, err := os.CreateTemp("", "kdev-sbom-")
		if err != nil {
			return err
		}
		s.spool = f
	}
	if _, err := s.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := s.spool.Truncate(0); err != nil {
		return err
	}
	if _, err := io.Copy(s.spool, io.MultiReader(bytes.NewReader(head), r)); err != nil {
		return err
	}
	info, err := buildinfo.Read(s.spool)
	if err != nil {
		return nil // not of Go
	}
	s.modules(name, info)
	return nil
}

func (s *scanner) modules(name string, info *buildinfo.BuildInfo) {
	s.module(name, "stdlib", strings.TrimPrefix(strings.Fields(info.GoVersion + " ")[0], "go"))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		s.module(name, m.Path, m.Version)
	}
	s.module(name, info.Main.Path, info.Main.Version)
}

func (s *scanner) module(from, name, version string) {
	if version == "" || version == "(devel)" {
		return // of the project: it is the image
	}
	s.add(Package{Name: name, Version: version, URL: purl("golang", name, version), From: from})
}

func (s *scanner) close() {
	if s.spool != nil {
		s.spool.Close()
		os.Remove(s.spool.Name())
	}
}
