package session

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/watch"
)

// A directory that may not be read is named and holds up nothing else; nobody knows what
// the containers should hold of it.
func TestClosedDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"Dockerfile": "FROM scratch\nCOPY . /app\n", "a": "1", "secret/b": "1", "secret/sub/c": "1", "z": "1"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(dir, "secret")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(secret, 0o755) })
	plan, err := dockerfile.Load(dockerfile.Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")})
	if err != nil {
		t.Fatal(err)
	}
	index, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { index.Close() })
	for name, m := range map[string]*mapping{
		"COPY": {plan: plan, dir: dir},
		"rule": {plan: plan, dir: dir, sync: config.Sync{Rules: []config.SyncRule{{From: ".", To: "/app"}}}},
	} {
		withoutRights(t, func() {
			files, unread, err := wantedFiles(t.Context(), index, m)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			if len(unread) != 1 || !strings.Contains(unreadProblem(unread, "web").Error(), "secret cannot be read: permission denied") {
				t.Errorf("%s: unread %v", name, unreadProblem(unread, "web"))
			}
			if !files["/app/secret"].Stays() || files["/app/a"].Size != 1 || files["/app/z"].Size != 1 {
				t.Errorf("%s: files %+v", name, files)
			}
			s := &Session{parts: Parts{Index: index}, mirror: mirror.New(mirror.Options{}), events: make(chan event, 8)}
			f := &feeder{s: s, service: "web", plan: m, local: func(rel string) string { return rel }}
			for _, saved := range [][]string{{"secret", "a"}, {"secret"}} { // it was shut; its mode is another one again
				for _, rel := range saved {
					f.mark(rel, m.explain(rel), watch.Batch{Generation: 1})
				}
				pending, batch, _ := f.take()
				if err := f.update(t.Context(), pending, batch); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if !slices.Equal(f.closed, []string{"secret"}) || f.opened() {
				t.Errorf("%s: closed %q, and can be read: %v", name, f.closed, f.opened())
			}
			told := fmt.Sprintf("%T %T %d", <-s.events, <-s.events, len(s.events))
			if told != "session.syncStarted session.notice 0" {
				t.Errorf("%s: told %s", name, told)
			}
		})
	}
	if err := os.Chmod(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if f := (&feeder{s: &Session{parts: Parts{Index: index}}, closed: []string{"secret"}}); !f.opened() {
		t.Error("the directory can be read again, and nobody sees it")
	}
}

// withoutRights does something as one for whom permission bits count, which they do not for
// root: credentials(7), the file system's user id is the thread's own.
func withoutRights(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
		do()
	}()
	<-done
}
