package agent_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/protocol"
)

func start(t *testing.T) (*agenttest.Container, *client) {
	c := agenttest.StartLimited(t, quick, "sleep", "1000")
	return c, dial(t, c)
}

func target(p string, old protocol.File) protocol.Target { return protocol.Target{Path: p, Old: old} }

var anything = protocol.File{Type: protocol.Unknown}

// names lists what is in dir, temporary files included.
func names(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); rel != "." {
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestBatch(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", 20000)
	stream := put("big", "")
	stream.Stream, stream.Inline, stream.Size, stream.Digest = true, nil, int64(len(big)), sha256.Sum256([]byte(big))
	ack := cl.batch(dir, nil,
		put("a/b/c", "one"),
		stream, &protocol.Data{Bytes: []byte(big[:100000])}, &protocol.Data{Bytes: []byte(big[100000:300000])}, &protocol.Data{Bytes: []byte(big[300000:])}, &protocol.PutEnd{},
		&protocol.Mkdir{Target: target("empty", anything), Perm: 0o750, SetPerm: true},
		&protocol.Link{Target: target("link", protocol.File{}), To: "a/b/c"},
	)
	cl.done(ack)
	if ack.Done != 4 || !ack.Acted {
		t.Errorf("%+v", ack)
	}
	if got := names(t, dir); got != "a a/b a/b/c big empty link" {
		t.Errorf("there is %q", got)
	}
	if content(t, dir, "big") != big || content(t, dir, "link") != "one" {
		t.Error("contents differ")
	}
	if info, err := os.Stat(filepath.Join(dir, "empty")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("empty: %v, %v", info.Mode(), err)
	}

	// The expected content, then another one.
	next := put("a/b/c", "two")
	next.Old, next.SetPerm, next.MTime = regular("one"), false, 1234567890123456789
	if err := os.Chmod(filepath.Join(dir, "a/b/c"), 0o751); err != nil {
		t.Fatal(err)
	}
	cl.done(cl.batch(dir, nil, next))
	info, err := os.Stat(filepath.Join(dir, "a/b/c"))
	if err != nil || info.Mode().Perm() != 0o751 || info.ModTime().UnixNano() != 1234567890123456789 {
		t.Errorf("mode %v, time %v, want those of what was replaced and of the file", info.Mode(), info.ModTime())
	}
	stale := put("a/b/c", "three")
	stale.Old = regular("one")
	if r := cl.only(cl.batch(dir, nil, stale), protocol.Mismatch); r.Actual.Digest != regular("two").Digest {
		t.Errorf("result %+v", r)
	}
	unexpected := put("big", "small")
	unexpected.Old = protocol.File{}
	cl.only(cl.batch(dir, nil, unexpected), protocol.Mismatch)

	cl.done(cl.batch(dir, nil,
		&protocol.Chmod{Target: target("big", anything), Perm: 0o4711},
		&protocol.Remove{Target: target("a/b/c", regular("two"))},
		&protocol.Remove{Target: target("a/b", anything)},
		&protocol.Remove{Target: target("a", anything)},
		&protocol.Remove{Target: target("empty", anything)},
		&protocol.Remove{Target: target("link", protocol.File{Type: protocol.Symlink, Link: "a/b/c"})},
		&protocol.Remove{Target: target("never/was/there", protocol.File{})},
	))
	if got := names(t, dir); got != "big" {
		t.Errorf("there is %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "big")); err != nil || info.Mode() != fs.ModeSetuid|0o711 {
		t.Errorf("big: %v, %v", info.Mode(), err)
	}
}

func TestForeignFilesStay(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	cl.done(cl.batch(dir, nil, put("d/ours", "1")))
	if err := os.WriteFile(filepath.Join(dir, "d/theirs"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cl.done(cl.batch(dir, nil, &protocol.Remove{Target: target("d/ours", regular("1"))}, &protocol.Remove{Target: target("d", anything)}))
	if got := names(t, dir); got != "d d/theirs" {
		t.Errorf("there is %q", got)
	}
	cl.only(cl.batch(dir, nil, &protocol.Remove{Target: target("d/theirs", regular("1"))}), protocol.Mismatch)
	cl.only(cl.batch(dir, nil, put("d", "a file")), protocol.InTheWay)
	cl.only(cl.batch(dir, nil, put("d/theirs/below", "x")), protocol.InTheWay)
	if got := names(t, dir); got != "d d/theirs" {
		t.Errorf("there is %q", got)
	}
}

func TestContentThatIsNotWhatWasSaid(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	wrong := put("x", "abc")
	wrong.Inline = []byte("abd")
	cl.only(cl.batch(dir, nil, wrong), protocol.Corrupt)
	short := put("x", "abc")
	short.Inline = []byte("ab")
	cl.only(cl.batch(dir, nil, short), protocol.Corrupt)
	long := put("x", "abc")
	long.Inline = bytes.Repeat([]byte("abc"), 1000)
	cl.only(cl.batch(dir, nil, long), protocol.Corrupt)
	aborted := put("x", "abc")
	aborted.Stream, aborted.Inline = true, nil
	ack := cl.batch(dir, &protocol.End{Restart: true}, put("y", "fine"), aborted, &protocol.Data{Bytes: []byte("ab")}, &protocol.PutEnd{Abort: true})
	cl.only(ack, protocol.Aborted)
	if ack.Acted {
		t.Error("a restart on half a batch")
	}
	if got := names(t, dir); got != "y" {
		t.Errorf("there is %q", got)
	}
}

func TestDeflated(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	text := strings.Repeat("all work and no play ", 10000)
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	w.Close()
	p := put("x", text)
	p.Encoding, p.Inline = protocol.Deflated, z.Bytes()
	cl.done(cl.batch(dir, nil, p))
	if content(t, dir, "x") != text {
		t.Error("the content differs")
	}
	for name, inline := range map[string][]byte{
		"nothing": nil, "garbage": []byte("garbage"), "cut": z.Bytes()[:z.Len()/2], "more behind": append(bytes.Clone(z.Bytes()), 'x'),
	} {
		p.Inline = inline
		p.Old = regular(text)
		ack := cl.batch(dir, nil, p)
		if len(ack.Results) != 1 || ack.Results[0].Code != protocol.Corrupt {
			t.Errorf("%s: %+v", name, ack.Results)
		}
	}
	if content(t, dir, "x") != text || names(t, dir) != "x" {
		t.Error("a bad stream left something behind")
	}
}

func TestNothingOutsideTheRoot(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root, outside, filepath.Join(root, "sub")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"abs": outside, "rel": "../outside", "inside": "sub", "file": filepath.Join(outside, "secret")} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"../outside/x", "/etc/x", "", ".", "a/../../outside/x", "a//b", "a/./b", "x\x00y", strings.Repeat("n", 256)} {
		cl.only(cl.batch(root, nil, put(p, "x")), protocol.BadPath)
		cl.only(cl.batch(root, nil, &protocol.Remove{Target: target(p, anything)}), protocol.BadPath)
		cl.only(cl.batch(root, nil, &protocol.Mkdir{Target: target(p, anything)}), protocol.BadPath)
		cl.only(cl.batch(root, nil, &protocol.Link{Target: target(p, anything), To: "x"}), protocol.BadPath)
		cl.only(cl.batch(root, nil, &protocol.Chmod{Target: target(p, anything)}), protocol.BadPath)
	}
	for _, p := range []string{"abs/x", "rel/x", "rel/secret"} {
		cl.only(cl.batch(root, nil, put(p, "x")), protocol.Escapes)
		cl.only(cl.batch(root, nil, &protocol.Remove{Target: target(p, anything)}), protocol.Escapes)
		cl.only(cl.batch(root, nil, &protocol.Mkdir{Target: target(p, anything)}), protocol.Escapes)
		cl.only(cl.batch(root, nil, &protocol.Chmod{Target: target(p, anything), Perm: 0o777}), protocol.Escapes)
	}
	// A link inside is followed; one in the last place is replaced, not followed.
	cl.done(cl.batch(root, nil, put("inside/x", "1"), put("file", "2")))
	if content(t, root, "sub/x") != "1" || content(t, root, "file") != "2" || content(t, outside, "secret") != "s" {
		t.Error("a link was followed where it should not be")
	}
	if got := names(t, outside); got != "secret" {
		t.Errorf("outside there is %q", got)
	}
}

// A process that swaps a directory for a link while files are written cannot
// make one of them land outside.
func TestLinkRace(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			os.Symlink(outside, filepath.Join(root, "d"))
			os.Remove(filepath.Join(root, "d"))
			os.Mkdir(filepath.Join(root, "d"), 0o755)
			os.Rename(filepath.Join(root, "d"), filepath.Join(root, "was"))
			os.RemoveAll(filepath.Join(root, "was"))
		}
	})
	for i := range 500 {
		cl.batch(root, nil, put("d/x", fmt.Sprint(i)), put("d/e/y", "y"))
	}
	stop()
	work.Wait()
	if got := names(t, outside); got != "" {
		t.Errorf("outside there is %q", got)
	}
}

func TestRewritesUnderAReader(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	page := func(i int) string { return strings.Repeat(fmt.Sprintf("%06d", i), 2000) }
	cl.done(cl.batch(dir, nil, put("x", page(0))))
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	var bad, reads int
	work.Go(func() {
		for ctx.Err() == nil {
			got, err := os.ReadFile(file)
			reads++
			if err != nil || len(got) != 12000 || !bytes.Equal(got[:6], got[11994:]) {
				bad++
			}
		}
	})
	for i := range 2000 {
		p := put("x", page(i+1))
		p.Old = regular(page(i))
		cl.done(cl.batch(dir, nil, p))
	}
	stop()
	work.Wait()
	if bad > 0 || reads == 0 {
		t.Errorf("%d of %d reads were short, empty or missing", bad, reads)
	}
}

func TestOwner(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		// Without the right to give files away, they are the user's and counted.
		if ack := cl.batch(dir, nil, put("x", "1")); ack.Owner != 0 {
			t.Errorf("%+v", ack)
		}
		return
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "d"), 1234, 2345); err != nil {
		t.Fatal(err)
	}
	cl.done(cl.batch(dir, nil, put("d/new", "1"), put("d/sub/deep", "2"), &protocol.Link{Target: target("d/link", anything), To: "new"}, put("x", "3")))
	if err := os.Chown(filepath.Join(dir, "x"), 77, 88); err != nil {
		t.Fatal(err)
	}
	cl.done(cl.batch(dir, nil, put("x", "4")))
	for name, want := range map[string][2]uint32{"d/new": {1234, 2345}, "d/sub": {1234, 2345}, "d/sub/deep": {1234, 2345}, "d/link": {1234, 2345}, "x": {77, 88}} {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dir, name), &st); err != nil || st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d, want %v (%v)", name, st.Uid, st.Gid, want, err)
		}
	}
}

func TestState(t *testing.T) {
	c, cl := start(t)
	dir := t.TempDir()
	keep := put("keep", "1")
	keep.SetPerm = false
	cl.batch(dir, nil, keep, put("gone", "2"), put("edited", "3"), &protocol.Link{Target: target("link", anything), To: "keep"}, &protocol.Mkdir{Target: target("dir", anything), Perm: 0o755})
	ack := cl.batch(dir, nil, &protocol.Remove{Target: target("gone", regular("2"))})
	if err := os.WriteFile(filepath.Join(dir, "edited"), []byte("by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := dial(t, c)
	got := map[string]protocol.File{}
	for _, e := range again.state {
		got[strings.TrimPrefix(e.Path, dir+"/")] = e.File
	}
	if f := got["keep"]; f.Digest != regular("1").Digest || f.Perm != 0o644 {
		t.Errorf("keep: %+v", f)
	}
	if f := got["gone"]; f.Type != protocol.Absent {
		t.Errorf("gone: %+v", f)
	}
	if f := got["edited"]; f.Digest != regular("by hand").Digest {
		t.Errorf("edited: %+v", f)
	}
	if got["link"].Link != "keep" || got["dir"].Type != protocol.Directory || len(got) != 5 {
		t.Errorf("state %+v", got)
	}

	same := connect(t, c)
	if err := same.hello(&protocol.Hello{Protocol: protocol.Version, Client: anybody, Boot: cl.welcome.Boot, Version: ack.Version}); err != nil {
		t.Fatal(err)
	}
	if !same.welcome.Same || len(same.state) != 0 {
		t.Errorf("the state is sent to one that has it: %+v", same.welcome)
	}

	same.send(&protocol.Ask{ID: 7, Paths: []string{dir + "/keep", dir + "/nothing", dir + "/dir"}})
	a, ok := same.receive().(*protocol.Answer)
	if !ok || a.ID != 7 || !a.Last || len(a.Entries) != 3 || a.Entries[0].File.Digest != regular("1").Digest || a.Entries[1].File.Type != protocol.Absent || a.Entries[2].File.Type != protocol.Directory {
		t.Errorf("answer %+v", a)
	}
}

// Bits that are there already are left alone: the container's user may not own the file.
func TestSameBitsAreNotSet(t *testing.T) {
	_, cl := start(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "run.sh")
	if err := os.WriteFile(file, []byte("1"), 0o755); err != nil {
		t.Fatal(err)
	}
	changed := func(p string) syscall.Timespec {
		var st syscall.Stat_t
		if err := syscall.Stat(p, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ctim
	}
	was := changed(file)
	old := regular("1")
	time.Sleep(20 * time.Millisecond) // two of the kernel's ticks: a change would have another time
	cl.done(cl.batch(dir, nil, &protocol.Chmod{Target: target("run.sh", old), Perm: 0o755}))
	if is := changed(file); is != was {
		t.Errorf("it was changed: %v, before %v", is, was)
	}
	cl.done(cl.batch(dir, nil, &protocol.Chmod{Target: target("run.sh", old), Perm: 0o700}))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Whatever comes, the application goes on and the next connection works.
func TestHostilePeer(t *testing.T) {
	c, _ := start(t)
	dir := t.TempDir()
	frames := func(ms ...protocol.Message) []byte {
		var b bytes.Buffer
		w := protocol.NewWriter(&b)
		for _, m := range ms {
			if err := w.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		return b.Bytes()
	}
	hello := &protocol.Hello{Protocol: protocol.Version, Client: anybody}
	begin := &protocol.Begin{Generation: 1, Roots: []string{dir}}
	stream := put("x", "abc")
	stream.Stream, stream.Inline = true, nil
	noRoot := put("x", "abc")
	noRoot.Root = 9
	random := make([]byte, 4096)
	source := rand.NewChaCha8([32]byte{1})
	source.Read(random)
	for name, data := range map[string][]byte{
		"nothing":                    nil,
		"random":                     random,
		"a length of 4 GB":           []byte("\xff\xff\xff\xff\x00\x00\x00\x00\x01"),
		"no hello":                   frames(begin),
		"random after hello":         append(frames(hello), random...),
		"put outside a batch":        frames(hello, put("x", "1")),
		"data outside a batch":       frames(hello, &protocol.Data{Bytes: []byte("x")}),
		"data without a file":        frames(hello, begin, &protocol.Data{Bytes: []byte("x")}),
		"end without a batch":        frames(hello, &protocol.End{}),
		"a batch in a batch":         frames(hello, begin, begin),
		"a root that is none":        frames(hello, &protocol.Begin{Roots: []string{"../x"}}),
		"a root that does not exist": frames(hello, begin, noRoot),
		"end within a file":          frames(hello, begin, stream, &protocol.End{}),
		"put within a file":          frames(hello, begin, stream, put("y", "1")),
		"an answer":                  frames(hello, &protocol.Pong{}),
		"a bad question":             frames(hello, &protocol.Ask{Paths: []string{"../etc/passwd"}}),
		"cut within a file":          frames(hello, begin, stream, &protocol.Data{Bytes: []byte("x")}),
	} {
		conn, err := c.Dial()
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(data)
		// It must end by itself where what came is wrong; where it only stopped, by our leaving.
		if name == "nothing" || name == "cut within a file" || name == "random" {
			conn.Close()
			continue
		}
		done := make(chan struct{})
		go func() { io.Copy(io.Discard, conn); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the connection is still open", name)
		}
		conn.Close()
	}
	cl := dial(t, c)
	cl.done(cl.batch(dir, nil, put("after", "all")))
	if got := names(t, dir); got != "after" {
		t.Errorf("there is %q", got)
	}
	if cl.welcome.Process.Phase != protocol.PhaseRunning || cl.welcome.Process.Starts != 1 {
		t.Errorf("the application suffered: %+v", cl.welcome.Process)
	}
}

func TestDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root is denied nothing; another way to make a directory that takes no file.
		_, cl := start(t)
		ack := cl.batch("/proc", nil, put("kdev", "x"))
		if len(ack.Results) != 1 || ack.Results[0].Code == protocol.OK || !errors.Is(mustNot("/proc/kdev"), fs.ErrNotExist) {
			t.Errorf("%+v", ack)
		}
		return
	}
	_, cl := start(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	ack := cl.batch(dir, &protocol.End{}, put("x", "1"))
	cl.only(ack, protocol.Denied)
	if !ack.Acted {
		t.Error("a path that can never be written holds up the rest")
	}
}

func mustNot(p string) error { _, err := os.Lstat(p); return err }
