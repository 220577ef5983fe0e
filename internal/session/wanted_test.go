package session

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/watch"
)

// unreadable is a name that the file system refuses, whoever asks: tests may run as root,
// who can read everything.
var unreadable = strings.Repeat("x", 300)

// files makes an index of a folder with these files.
func files(t *testing.T, contents map[string]string) (string, *tree.Index) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	index, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { index.Close() })
	return dir, index
}

func TestDescribe(t *testing.T) {
	_, index := files(t, map[string]string{"a": "1", "b": "2"})
	found, unread, err := describe(t.Context(), index, []string{"a", unreadable, "gone", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if found["a"] == nil || found["b"] == nil || found["gone"] != nil || found["b"].Size != 1 {
		t.Errorf("found %+v", found)
	}
	if _, there := found[unreadable]; there || len(unread) != 1 || unread[unreadable] == nil {
		t.Errorf("unread %v, and found: %v", unread, there)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, unread, err := describe(ended, index, []string{"a"}); err != context.Canceled || len(unread) != 0 {
		t.Errorf("when nobody wants it any more: %v, %v", unread, err)
	}
}

// A batch goes to the containers without what cannot be read, which is named once and
// read again with the next change.
func TestUnreadableFileHoldsUpNoOther(t *testing.T) {
	dir, index := files(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY . /app\n", "a": "1"})
	plan, err := dockerfile.Load(dockerfile.Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")})
	if err != nil {
		t.Fatal(err)
	}
	s := &Session{parts: Parts{Index: index}, mirror: mirror.New(mirror.Options{}), events: make(chan event, 8)}
	f := &feeder{s: s, service: "web", plan: &mapping{plan: plan, dir: dir}, local: func(rel string) string { return rel }}
	told := func() (synced []string, problems []string) {
		for {
			select {
			case e := <-s.events:
				switch e := e.(type) {
				case syncStarted:
					synced = append(synced, e.batch.paths...)
				case notice:
					problems = append(problems, e.Problem.Error())
				}
			default:
				return synced, problems
			}
		}
	}
	at := func(dest string) dockerfile.Verdict {
		return dockerfile.Verdict{Action: dockerfile.Sync, Dests: []string{dest}}
	}
	pending := map[string]dockerfile.Verdict{"a": at("/app/a"), unreadable: at("/app/" + unreadable)}
	if err := f.update(t.Context(), pending, watch.Batch{Generation: 1}); err != nil {
		t.Fatal(err)
	}
	synced, problems := told()
	if !slices.Equal(synced, []string{"a"}) || len(problems) != 1 || !strings.Contains(problems[0], unreadable+" cannot be read: file name too long") {
		t.Errorf("synced %q, told %q", synced, problems)
	}
	again, _, _ := f.take()
	if dests := again[unreadable].Dests; len(again) != 1 || !slices.Equal(dests, []string{"/app/" + unreadable}) {
		t.Fatalf("for the next change there is %v", again)
	}
	again["a"] = at("/app/a")
	if err := f.update(t.Context(), again, watch.Batch{Generation: 2}); err != nil {
		t.Fatal(err)
	}
	if synced, problems := told(); !slices.Equal(synced, []string{"a"}) || len(problems) != 0 {
		t.Errorf("the next time: synced %q, told again %q", synced, problems)
	}
}
