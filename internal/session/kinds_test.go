package session

import (
	"io/fs"
	"testing"

	"github.com/kdev-io/kdev/sync/engine"
)

// TestWhatWasSynced: a new file brings its folder's time along, and what was removed is
// not counted as synced.
func TestWhatWasSynced(t *testing.T) {
	file, folder := &engine.File{Mode: 0o644}, &engine.File{Mode: fs.ModeDir | 0o755}
	type seen struct {
		path string
		file *engine.File
	}
	for _, c := range []struct {
		seen []seen
		want string
	}{
		{nil, "synced main.go to"}, // a compilation's: its sources
		{[]seen{{"a.txt", file}}, "synced a.txt to"},
		{[]seen{{"new", folder}, {"new/a.txt", file}}, "synced new/a.txt to"},
		{[]seen{{"new", folder}, {"new/a", file}, {"new/b", file}}, "synced 2 files to"},
		{[]seen{{"new", folder}}, "synced folder new to"},
		{[]seen{{"new", folder}, {"new/er", folder}}, "synced 2 folders to"},
		{[]seen{{"a", nil}}, "removed a from"},
		{[]seen{{"old", nil}, {"old/a", nil}}, "removed old/a from"},
		{[]seen{{"old", nil}, {"old/a", nil}, {"old/b", nil}}, "removed 2 files from"},
		{[]seen{{"old", nil}, {"old-x", nil}, {"old/a", nil}}, "removed 2 files from"},
		{[]seen{{"a", nil}, {"b", file}}, "synced b and removed a in"},
		{[]seen{{"a", nil}, {"b", file}, {"c", file}, {"x", folder}}, "synced 2 files and removed a in"},
		{[]seen{{"a", nil}, {"x", folder}}, "removed a from"},
	} {
		var k pathKinds
		for _, s := range c.seen {
			k.see(s.path, s.file)
		}
		if got := k.say([]string{"main.go"}); got != c.want {
			t.Errorf("%v: %q, want %q", c.seen, got, c.want)
		}
	}
}
