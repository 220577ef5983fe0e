package tui

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestKeysAreDocumented: the table of docs/dashboard.md is the one that the keys
// work by.
func TestKeysAreDocumented(t *testing.T) {
	const file, from, to = "../docs/dashboard.md", "<!-- keys: written by `UPDATE=1 go test ./tui -run TestKeysAreDocumented` -->\n", "<!-- end of keys -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := bytes.Cut(text, []byte(from))
	got, tail, ok2 := bytes.Cut(rest, []byte(to))
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the keys", file)
	}
	want := keyTable()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(string(head)+from+want+to+string(tail)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(got) != want {
		t.Errorf("the keys of %s are not those of the program; want\n%s", file, want)
	}
}

func keyTable() string {
	var b strings.Builder
	for s := everywhere; s <= palette; s++ {
		fmt.Fprintf(&b, "\n| %s | | |\n|---|---|---|\n", scopeNames[s])
		for _, bind := range bindings() {
			if bind.in == s {
				keys := strings.ReplaceAll(keyNames(bind.keys), "|", "\\|")
				fmt.Fprintf(&b, "| %s | %s | %s |\n", keys, bind.name, bind.help)
			}
		}
	}
	return strings.TrimPrefix(b.String(), "\n") + "\n"
}
