package dockerfile

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The table of the documentation is that of the code. With UPDATE_DOCS=1 it is
// written anew.
func TestHarmlessIsDocumented(t *testing.T) {
	const file, begin, end = "../../docs/sync.md", "<!-- harmless RUNs -->\n", "<!-- end -->\n"
	want := begin + "| command | reads or changes only |\n|---|---|\n"
	for _, h := range harmless {
		var groups []string
		for _, g := range strings.Split(h.commands, ", ") {
			groups = append(groups, "`"+g+"`")
		}
		want += fmt.Sprintf("| %s | %s |\n", strings.Join(groups, ", "), h.but)
		if j := judge(h.example, true, "/app"); j.reads != "" {
			t.Errorf("%s: %q may read anything", h.commands, h.example)
		}
	}
	want += end
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if strings.Contains(text, want) {
		return
	}
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s has another table of harmless commands: run this test with UPDATE_DOCS=1", file)
	}
	if err := os.WriteFile(file, []byte(before+want+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
