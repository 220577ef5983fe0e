package watch

import (
	"encoding/binary"
	"slices"
	"testing"
	"unicode/utf16"
)

// recorder is a sink that keeps what it is told.
type recorder struct {
	events []string
	marks  []mark
	doubts []string
}

func (r *recorder) event(p string, m mark) {
	r.events, r.marks = append(r.events, p), append(r.marks, m)
}
func (r *recorder) uncertain(why string) { r.doubts = append(r.doubts, why) }

func TestFSEvents(t *testing.T) {
	const root = "/private/tmp/p"
	for _, c := range []struct {
		path  string
		flags uint32
		want  string // path told, "" none, "?" doubt
		mark  mark
	}{
		{root + "/a/f", fseItemModified, "a/f", written},
		{root + "/a/f", fseItemCreated | fseItemModified, "a/f", moved | written},
		{root + "/a", fseItemRenamed, "a", moved | written},
		{root + "/a/", fseMustScanSubDirs, "a", deep},
		{root, fseMustScanSubDirs, ".", deep},
		{root, fseItemModified, ".", 0},
		{root, fseRootChanged, ".", moved},
		{root + "/a", fseMustScanSubDirs | fseKernelDropped, "?", 0},
		{root + "x/f", fseItemModified, "", 0},
		{"", fseHistoryDone, "", 0},
	} {
		var r recorder
		readFSEvent(&r, root, c.path, c.flags)
		got := ""
		switch {
		case len(r.doubts) > 0:
			got = "?"
		case len(r.events) > 0:
			got = r.events[0]
			if r.marks[0] != c.mark {
				t.Errorf("%s %#x: mark %v, want %v", c.path, c.flags, r.marks[0], c.mark)
			}
		}
		if got != c.want {
			t.Errorf("%s %#x: %q, want %q", c.path, c.flags, got, c.want)
		}
	}
}

func information(name string, action, next uint32) []byte {
	units := utf16.Encode([]rune(name))
	b := binary.LittleEndian.AppendUint32(nil, next)
	b = binary.LittleEndian.AppendUint32(b, action)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*len(units)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestNotifyInformation(t *testing.T) {
	first := information(`dir\é😀.txt`, actionModified, 0)
	buf := slices.Concat(information(`dir\é😀.txt`, actionModified, uint32(len(first))), information(`LONGNA~1\f`, actionAdded, 0))
	var r recorder
	readNotifyInformation(&r, buf, func(p string) string { return `long name\f` })
	if !slices.Equal(r.events, []string{"dir/é😀.txt", "long name/f"}) || !slices.Equal(r.marks, []mark{written, moved | written}) || len(r.doubts) > 0 {
		t.Errorf("%+v", r)
	}
}

// What comes from a system call is not trusted to be whole.
func FuzzNotifyInformation(f *testing.F) {
	f.Add(information("a", actionAdded, 0))
	f.Add(slices.Concat(information("a", actionAdded, 16), information(`b~1`, actionRemoved, 400)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r recorder
		readNotifyInformation(&r, data, func(p string) string { return p })
		if slices.Contains(r.events, "") {
			t.Error("an event without a path")
		}
	})
}
