// Command generate writes what follows from the types of internal/config into
// the folder that it is given: kdev.schema.json, and the tables between the
// markers of config.md. It changes nothing else.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdev-io/kdev/internal/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "kdev.schema.json"), config.Schema(), 0o644); err != nil {
		return err
	}
	page := filepath.Join(dir, "config.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	for _, part := range []struct{ name, content string }{
		{"keys", config.Reference()},
		{"unsupported", "`" + strings.Join(config.Unsupported(), "`, `") + "`\n"},
	} {
		if text, err = Replace(text, part.name, part.content); err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
	}
	return os.WriteFile(page, text, 0o644)
}

// Replace puts content between the lines <!-- begin NAME --> and <!-- end NAME -->.
func Replace(text []byte, name, content string) ([]byte, error) {
	begin, end := []byte("<!-- begin "+name+" -->\n"), []byte("<!-- end "+name+" -->")
	before, rest, ok1 := bytes.Cut(text, begin)
	_, after, ok2 := bytes.Cut(rest, end)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("no markers for %q", name)
	}
	return bytes.Join([][]byte{before, begin, []byte(content), end, after}, nil), nil
}
