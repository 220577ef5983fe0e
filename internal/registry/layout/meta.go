package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

var metaName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// PutMeta remembers data beside the images: kind is a folder, key a file.
// Both are lower-case letters, digits, dots, dashes and underscores.
func (s *Store) PutMeta(kind, key string, data []byte) error {
	path, err := s.metaPath(kind, key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, "uploads")); err != nil {
		if err := s.ensure(); err != nil {
			return err
		}
	}
	return s.replace(path, data)
}

// Meta returns what PutMeta remembered, or an error that is fs.ErrNotExist.
func (s *Store) Meta(kind, key string) ([]byte, error) {
	path, err := s.metaPath(kind, key)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// RemoveMeta forgets; what is not there is no error.
func (s *Store) RemoveMeta(kind, key string) error {
	path, err := s.metaPath(kind, key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// MetaKeys are the keys of a kind, sorted.
func (s *Store) MetaKeys(kind string) ([]string, error) {
	if !metaName.MatchString(kind) {
		return nil, fmt.Errorf("%q cannot name a kind", kind)
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "kdev", kind))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Name())
	}
	return keys, nil
}

func (s *Store) metaPath(kind, key string) (string, error) {
	if !metaName.MatchString(kind) || !metaName.MatchString(key) {
		return "", fmt.Errorf("%q/%q cannot name a record", kind, key)
	}
	return filepath.Join(s.dir, "kdev", kind, key), nil
}

// MetaOnce returns what is remembered under key, and makes it when there is
// nothing, or nothing that valid accepts: of several processes that ask at once,
// all get the same.
func (s *Store) MetaOnce(kind, key string, valid func([]byte) bool, make func() ([]byte, error)) ([]byte, error) {
	if b, err := s.Meta(kind, key); err == nil && valid(b) {
		return b, nil
	}
	l, err := s.lock("meta.lock", true, true)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	b, err := s.Meta(kind, key)
	if err == nil && valid(b) {
		return b, nil
	}
	damaged := err == nil
	if b, err = make(); err != nil {
		return nil, err
	}
	if err := s.PutMeta(kind, key, b); err != nil {
		return nil, err
	}
	if damaged {
		s.note("", fmt.Sprintf("the file kdev/%s/%s, which was empty or not what kdev writes; it is made anew", kind, key))
	}
	return b, nil
}
