package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

var messages = []Message{
	&Hello{Protocol: 1, Client: [16]byte{1, 2}, Boot: [16]byte{3}, Version: 1 << 40, Observe: true},
	&Welcome{Protocol: 1, Agent: "v1", Boot: [16]byte{9}, Version: 7, Same: true, Run: true, Unsynced: true, UID: 1000, GID: 0,
		Mounts: []Mount{{"/data", true, "tmpfs", "0:1 /"}}, Process: Process{PhaseHeld, 3, 137}, Synced: true, Last: Last{12, 34, 56, "no space"}},
	&State{Entries: []Entry{{"/a", File{Type: Regular, Perm: 0o4755, Size: 5, Digest: [32]byte{1}}}, {"/b", File{}}, {"/c", File{Type: Symlink, Link: "../x"}}, {"/d", File{Type: Directory, Perm: 0o755}}}, Last: true},
	&Begin{Generation: 3, Place: [8]byte{4}, Roots: []string{"/", "/app"}},
	&Put{Target: Target{1, "x/y", File{Type: Unknown}}, Perm: 0o644, SetPerm: true, MTime: -5, Size: 3, Digest: [32]byte{4}, Inline: []byte("abc")},
	&Put{Target: Target{1, "x/y", File{Type: Regular, Digest: [32]byte{7}}}, Encoding: Patched, Stream: true},
	&Data{[]byte("content")},
	&PutEnd{Abort: true},
	&Remove{Target{0, "p", File{Type: Regular}}, true},
	&Mkdir{Target{0, "p", File{}}, 0o755, true},
	&Link{Target{0, "p", File{Type: Other}}, "../target", 77},
	&Chmod{Target{0, "p", File{Type: Regular}}, 0o600},
	&End{Commands: [][]string{{"npm", "ci"}, {"true"}}, Restart: true, Hold: true, Signal: 1},
	&Ack{Generation: 3, Version: 4, Done: 5, Owner: 1, InPlace: []string{"/etc/x"}, Results: []Result{{"/a", Mismatch, "changed", File{Type: Directory}}}, Acted: true, More: true},
	&Ask{1, []string{"/a", "/b"}},
	&Answer{1, []Entry{{"/a", File{}}}, true},
	&Notice{What: NoticeCommand, Generation: 2, Process: Process{PhaseRunning, 1, 0}, Command: []string{"x"}, Code: -1, Took: 99, Text: "t"},
	&Command{Restart: true, Hold: true, Signal: 15},
	&Fetch{"/app/package-lock.json"},
	&Fetched{File{Type: Regular, Perm: 0o644, Size: 3}, 17, "why not"},
	&Ping{5}, &Pong{6}, &Repair{}, &Repaired{true},
	&Refuse{"busy", "another"},
}

func TestMessagesComeBack(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, m := range messages {
		if err := w.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if w.Sent() != int64(b.Len()) {
		t.Errorf("sent %d, want %d", w.Sent(), b.Len())
	}
	r := NewReader(&b)
	for _, want := range messages {
		got, err := r.Receive()
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		// An empty list and none are the same on the wire.
		if p, ok := got.(*Put); ok && len(p.Inline) == 0 {
			p.Inline = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, err := r.Receive(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

// Every kind has a row above, so that no message is left out of the test.
func TestEveryKindIsTested(t *testing.T) {
	seen := map[Kind]bool{}
	for _, m := range messages {
		seen[m.Kind()] = true
	}
	for k := Kind(1); k < 255; k++ {
		if newMessage(k) != nil && !seen[k] {
			t.Errorf("kind %d is not tested", k)
		}
	}
}

func TestDamage(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := w.Send(messages[1]); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	whole := b.Bytes()
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		if _, err := NewReader(bytes.NewReader(bad)).Receive(); err == nil {
			t.Errorf("a bit of byte %d was turned over and nobody noticed", i)
		}
		if _, err := NewReader(bytes.NewReader(whole[:i])).Receive(); err == nil || i > 0 && errors.Is(err, io.EOF) {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
}

// A length of 2 GB must cost nothing.
func TestLengthThatLies(t *testing.T) {
	head := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(head, 2<<30-1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := NewReader(bytes.NewReader(head)).Receive()
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrFrame) {
		t.Errorf("error %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func TestPaths(t *testing.T) {
	good := []string{"/a", "/a/b", "/.hidden", "/a/..b", "/a b/\xff", "/" + strings.Repeat("n", 255)}
	bad := []string{"", "/", "a", "a/b", "/a/", "//a", "/a//b", "/./a", "/a/.", "/..", "/a/../b", "/a\x00b", "/" + strings.Repeat("n", 256), strings.Repeat("/abc", 2000), "../a"}
	for _, p := range good {
		if !ValidPath(p) {
			t.Errorf("%q is refused", p)
		}
	}
	for _, p := range bad {
		if ValidPath(p) {
			t.Errorf("%q is taken", p)
		}
	}
	if !ValidRoot("/") || ValidRoot("") || ValidRoot("app") {
		t.Error("roots")
	}
}

func TestPartsHoldEverything(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 20000} {
		var entries []Entry
		var paths []string
		for range n {
			p := "/" + strings.Repeat("p", 200)
			entries = append(entries, Entry{Path: p})
			paths = append(paths, p)
		}
		total := 0
		parts := Parts(entries)
		for _, part := range parts {
			total += len(part)
			var e encoder
			encodeEntries(&e, part)
			if len(e.b) > MaxPayload {
				t.Errorf("a part of %d bytes", len(e.b))
			}
		}
		if total != n || len(parts) == 0 {
			t.Errorf("%d of %d entries in %d parts", total, n, len(parts))
		}
		total = 0
		for _, part := range PathParts(paths) {
			total += len(part)
		}
		if total != n {
			t.Errorf("%d of %d paths", total, n)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, m := range messages {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.Send(m)
		w.Flush()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for {
			if _, err := r.Receive(); err != nil {
				return
			}
		}
	})
}

// What decodes is encoded to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	for _, m := range messages {
		var e encoder
		m.encode(&e)
		f.Add(byte(m.Kind()), e.b)
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		m, err := Decode(Kind(kind), payload)
		if err != nil {
			return
		}
		var e encoder
		m.encode(&e)
		again, err := Decode(Kind(kind), e.b)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func FuzzValidPath(f *testing.F) {
	for _, p := range []string{"/a/b", "/../x", "//", "/a/./b"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !ValidPath(p) {
			return
		}
		for _, c := range strings.Split(p[1:], "/") {
			if c == "" || c == "." || c == ".." || strings.ContainsRune(c, 0) {
				t.Fatalf("%q is taken", p)
			}
		}
	})
}
