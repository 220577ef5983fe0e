package guard

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPagesOfCodes: the program names for each code the page of docs/errors that explains
// it. UPDATE=1 writes its table anew.
func TestPagesOfCodes(t *testing.T) {
	const table = "internal/problem/pages.go"
	files, err := filepath.Glob(filepath.Join(root, "docs", "errors", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	slices.Sort(files)
	entry := regexp.MustCompile("(?m)^- `([a-z0-9-]+)`: .")
	var want strings.Builder
	want.WriteString("package problem\n\n// pages are the pages of docs/errors with the codes that each explains: written by\n// `UPDATE=1 go test ./test/guard -run TestPagesOfCodes`.\nconst pages = `\n")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, m := range entry.FindAllSubmatch(text, -1) {
			codes = append(codes, string(m[1]))
		}
		if len(codes) > 0 {
			fmt.Fprintf(&want, "%s %s\n", strings.TrimSuffix(filepath.Base(f), ".md"), strings.Join(codes, " "))
		}
	}
	want.WriteString("`\n")
	file := filepath.Join(root, table)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want.String() {
		t.Errorf("%s is not what docs/errors says (%v): UPDATE=1 go test ./test/guard -run TestPagesOfCodes", table, err)
	}
}
